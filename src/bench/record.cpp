// SPDX-License-Identifier: Apache-2.0
#include "bench/record.h"

#include <cmath>

#include "base/text.h"
#include "suite/flag.h"

namespace moebench {
namespace {

constexpr Words<Status, 6> kStatuses{{{
    {Status::ok, "ok"},
    {Status::incorrect, "incorrect"},
    {Status::failed, "failed"},
    {Status::skipped, "skipped"},
    {Status::timed_out, "timed_out"},
    {Status::interrupted, "interrupted"},
}}};

constexpr Words<Bound, 4> kBounds{{{
    {Bound::compute, "compute"},
    {Bound::memory, "memory"},
    {Bound::link, "link"},
    {Bound::latency, "latency"},
}}};

}  // namespace

PeaksKey peaks_key(const Case& bench_case) {
  return {bench_case.shape.dtype, bench_case.processes(), bench_case.threads};
}

std::string_view name_of(Status status) { return kStatuses.name(status); }
Status parse_status(std::string_view word) { return kStatuses.parse("status", word); }

std::string_view name_of(Bound bound) { return kBounds.name(bound); }
Bound parse_bound(std::string_view word) { return kBounds.parse("bound", word); }

std::string id_of(const Case& bench_case) {
  std::uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a, 64 bits
  for (auto [flag, value] : bench_case.settings()) {
    if (flag == "routing" && !bench_case.trace.sha256.empty())
      value = content_of(bench_case.trace);  // wherever the file lies
    if (const Flag& known = find_flag(flag); known.omitted_from_id_at_default && value == known.default_value)
      continue;
    for (const char character : cat(flag, '=', value, '\n')) {
      hash ^= static_cast<unsigned char>(character);
      hash *= 0x100000001B3ull;
    }
  }
  return format("%016llx", static_cast<unsigned long long>(hash));
}

bool is_unchecked(const Record& record) { return record.check.mode == "none"; }

std::string_view verdict_of(const Record& record) {
  if (record.status == Status::incorrect) return name_of(Status::incorrect);
  if (is_unchecked(record)) return "unchecked";
  return name_of(record.check.passed ? Status::ok : Status::incorrect);
}

bool has_times(const Record& record) {
  const auto total = record.time.find("total");
  return record.status == Status::ok && (record.check.mode == "none" || record.check.passed) &&
         total != record.time.end() && total->second.device.n > 0 &&
         std::isfinite(total->second.device.p50) && total->second.device.p50 > 0;
}

}  // namespace moebench
