// SPDX-License-Identifier: Apache-2.0
#include "suite/case.h"

#include <algorithm>

#include "base/text.h"
#include "suite/flag.h"

namespace moebench {
namespace {

constexpr Words<SubjectKind, 3> kSubjects{{{
    {SubjectKind::layer, "layer"},
    {SubjectKind::linear, "linear"},
    {SubjectKind::dense, "dense"},
}}};

constexpr Words<PassSet, 3> kPassSets{{{
    {PassSet::fwd, "fwd"},
    {PassSet::fwd_bwd, "fwd+bwd"},
    {PassSet::step, "step"},
}}};

constexpr Words<CacheState, 3> kCacheStates{{{
    {CacheState::cold, "cold"},
    {CacheState::hot, "hot"},
    {CacheState::flushed, "flushed"},
}}};

constexpr Words<RoutingVia, 3> kVias{{{
    {RoutingVia::automatic, "auto"},
    {RoutingVia::planted, "planted"},
    {RoutingVia::replayed, "replayed"},
}}};

}  // namespace

std::string_view name_of(RoutingVia via) { return kVias.name(via); }
RoutingVia parse_routing_via(std::string_view word) { return kVias.parse("routing-via", word); }
std::string_view name_of(SubjectKind subject) { return kSubjects.name(subject); }
SubjectKind parse_subject(std::string_view word) { return kSubjects.parse("subject", word); }
std::string_view name_of(PassSet passes) { return kPassSets.name(passes); }
PassSet parse_passes(std::string_view word) { return kPassSets.parse("pass", word); }
std::string_view name_of(CacheState cache) { return kCacheStates.name(cache); }
CacheState parse_cache(std::string_view word) { return kCacheStates.parse("cache", word); }

std::vector<Pass> passes_of(PassSet passes) {
  std::vector<Pass> list{Pass::forward};
  if (passes != PassSet::fwd) list.push_back(Pass::backward);
  if (passes == PassSet::step) list.push_back(Pass::sync);
  return list;
}

PassSet default_passes(SubjectKind subject) {
  return subject == SubjectKind::linear ? PassSet::fwd : PassSet::fwd_bwd;
}

bool replays_routing(const Case& bench_case) {
  if (bench_case.subject != SubjectKind::layer || bench_case.routing.is_random()) return false;
  if (bench_case.routing_via != RoutingVia::automatic) return bench_case.routing_via == RoutingVia::replayed;
  const GateOptions& gate = bench_case.gate_options;  // of logits that were raised these choose others
  return bench_case.routing.is_trace() || bench_case.shape.experts > bench_case.shape.hidden ||
         gate.groups.limit() || gate.bias > 0 || bench_case.gate == "sinkhorn";
}

int routing_steps_of(const Case& bench_case) {
  if (bench_case.subject != SubjectKind::layer) return 0;
  if (bench_case.steps > 0) return bench_case.steps;
  if (bench_case.routing.is_trace()) return bench_case.trace.steps;
  const int period = period_of(bench_case.routing, bench_case.shape);
  return period > 1 ? period : 0;
}

std::string Case::title() const {
  std::string text(name_of(subject));
  for (const auto& [flag, value] : axes)
    if (flag != "subject") text += cat(" ", flag, "=", value);
  return text;
}

std::vector<std::pair<std::string, std::string>> Case::settings() const {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const Flag& flag : flags()) {
    // Of two flags that set the same thing, only the first with a value is listed.
    const bool said =
        std::any_of(pairs.begin(), pairs.end(), [&](auto& p) { return p.first == flag.replaces; });
    if (std::string value = flag.read(*this); !said && !value.empty())
      pairs.emplace_back(flag.name, std::move(value));
  }
  return pairs;
}

std::vector<std::pair<std::string, std::string>> Case::shown_settings() const {
  auto pairs = settings();
  std::erase_if(pairs, [&](const auto& pair) {
    const Flag& flag = find_flag(pair.first);
    return flag.concerns && !flag.concerns(subject);
  });
  return pairs;
}

}  // namespace moebench
