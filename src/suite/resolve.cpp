// SPDX-License-Identifier: Apache-2.0
#include "suite/resolve.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "layer/gates/gate.h"
#include "moe/target_imbalance.h"

namespace moebench {
namespace {

void check_words(const Case& point, const RunCapabilities& machine) {
  for (const auto& [flag, words] : machine.words) {
    const std::string word = find_flag(flag).read(point);
    if (std::find(words.begin(), words.end(), word) == words.end()) throw_unknown(flag, word, words);
  }
}

/// The parameter that --target-imbalance asks for; left out where there is none: why_not() says so.
void find_routing(Case& point) {
  if (point.subject != SubjectKind::layer || point.target_imbalance == 0) return;
  if (!point.routing.lacks_parameter() || point.shape.tokens == 0 || !why_not(point.shape).empty()) return;
  const FoundParameter found = find_parameter(point.shape, point.routing, point.seed, point.target_imbalance);
  if (found.within) point.routing.parameter = found.parameter;
}

/// The first of what "auto" in exchange and overlap may stand for that can run here.
void choose_exchange(Case& point, const RunCapabilities& machine) {
  const bool exchange = std::exchange(point.auto_exchange, false),
             overlap = std::exchange(point.auto_overlap, false);
  if (!exchange && !overlap) return;
  const auto can_run = [&] {
    return machine.why_not ? machine.why_not(point).empty() : why_not(point).empty();
  };
  if (!exchange || machine.peers_share_memory) {
    if (can_run()) return;
    if (overlap) point.overlap = Overlap::none;
    if (!exchange || can_run()) return;
  }
  point.exchange = Exchange::fused;
  if (overlap) point.overlap = Overlap::none;
}

std::string why_not_steps(const Case& point) {
  if (point.steps == 0) return {};
  Case whole = point;
  whole.steps = 0;
  const int period = routing_steps_of(whole);
  if (point.steps >= period) return {};
  return cat("--steps ", point.steps, " is less than the ", period, " steps of routing ",
             name_of(point.routing), point.routing.is_trace() ? "; choose fewer with @step=A-B" : "");
}

}  // namespace

Case resolve(const Settings& values, const RunCapabilities& machine) {
  Case point;
  const auto write = [&](std::string_view flag) {
    const auto found = values.find(flag);
    if (found != values.end()) find_flag(flag).write(point, found->second);
    return found != values.end();
  };
  write("subject");
  if (!write("ranks")) point.shape.ranks = machine.ranks;
  // A subject without experts has none to share between ranks.
  if (!write("ep")) point.shape.ep = point.subject == SubjectKind::layer ? point.shape.ranks : 1;
  for (const Flag& flag : flags())  // these follow from the three above
    if (flag.name != "subject" && flag.name != "ranks" && flag.name != "ep") write(flag.name);
  for (const Flag& flag : flags())
    if (flag.default_of && !values.contains(flag.name)) flag.write(point, flag.default_of(point));
  if (point.subject == SubjectKind::layer) point.shape.slots = slots_of(find_gate(point.gate), point.shape);
  if (point.backend == kAuto) point.backend = machine.backend;
  if (point.comm == kAuto) point.comm = machine.comm;
  if (point.engine == kAuto)
    point.engine = machine.engine ? EngineName(machine.engine(point.shape)) : Case{}.engine;
  check_words(point, machine);
  find_routing(point);
  choose_exchange(point, machine);
  return point;
}

std::string why_not(const Case& point) {
  if (std::string why = why_not(point.shape); !why.empty()) return why;
  if (point.subject != SubjectKind::layer) return {};
  if (point.as_rank >= point.shape.ranks)
    return cat("--as-rank ", point.as_rank, " of ", point.shape.ranks,
               " ranks; valid: below --ranks, the number of ranks of the job");
  if (point.as_rank >= 0 && point.passes == PassSet::step)
    return "--as-rank has no other ranks to sum gradients with; valid: --pass fwd or fwd+bwd";
  if (std::string why = why_not_target(point.shape, point.routing, point.seed, point.target_imbalance);
      !why.empty())
    return why;
  if (std::string why = why_not_steps(point); !why.empty()) return why;
  if (point.routing.is_trace() && point.trace.steps > 0)
    if (std::string why = why_not_replayed(point.trace, point.shape); !why.empty()) return why;
  if (!point.routing.is_trace())
    if (std::string why = why_not_drawn(point.routing); !why.empty()) return why;
  return replays_routing(point) ? std::string() : why_not_planted(point.shape, point.routing);
}

}  // namespace moebench
