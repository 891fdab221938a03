// SPDX-License-Identifier: Apache-2.0
#include "report/trace_json.h"

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "bench/record.h"

namespace moebench {
namespace {

using Json = nlohmann::ordered_json;

/// A metadata event: what to call a process or a thread.
Json named(std::string_view what, std::size_t rank, Json arguments) {
  return {{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", 0}, {"args", std::move(arguments)}};
}

Json event_of(const Slice& slice, std::size_t rank) {
  const auto kind = slice.stage ? "stage" : slice.pass ? "pass" : "iteration";
  const std::string name = slice.stage  ? std::string(name_of(*slice.stage))
                           : slice.pass ? std::string(name_of(*slice.pass))
                                        : cat("iteration ", slice.iteration);
  Json arguments{{"iteration", slice.iteration}};
  if (slice.pass) arguments["pass"] = name_of(*slice.pass);
  return {{"name", name},
          {"cat", kind},
          {"ph", "X"},  // a complete event: begin and duration in one
          {"pid", rank},
          {"tid", 0},
          {"ts", slice.begin_us},
          {"dur", slice.end_us - slice.begin_us},
          {"args", std::move(arguments)}};
}

}  // namespace

std::string trace_json(const Timeline& timeline, std::span<const RankInfo> ranks, std::string_view version) {
  Json events = Json::array();
  for (std::size_t rank = 0; rank < timeline.ranks.size(); ++rank) {
    const RankInfo& info = ranks[rank];
    events.push_back(
        named("process_name", rank, {{"name", cat("rank ", rank, ": ", info.host, ", ", info.device)}}));
    events.push_back(named("process_sort_index", rank, {{"sort_index", rank}}));
    events.push_back(
        named("thread_name", rank, {{"name", std::string(name_of(timeline.bench_case.subject))}}));
    for (const Slice& slice : timeline.ranks[rank]) events.push_back(event_of(slice, rank));
  }
  Json about{{"version", version}, {"id", id_of(timeline.bench_case)}};
  for (const auto& [flag, value] : timeline.bench_case.settings()) about[flag] = value;
  return Json{{"displayTimeUnit", "ms"}, {"otherData", std::move(about)}, {"traceEvents", std::move(events)}}
             .dump(1) +
         "\n";
}

}  // namespace moebench
