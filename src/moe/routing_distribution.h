// SPDX-License-Identifier: Apache-2.0
// How tokens choose experts: the words of `--routing`. docs/routing.md defines each.
#pragma once

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "moe/routing_draw.h"

namespace moebench {

/// A row of the table of routings.
struct RoutingKind {
  std::string_view name;       ///< "zipf"
  std::string_view parameter;  ///< what stands for its parameter in help: "S"; empty: it has none
  double min = 0, max = 0;     ///< of the parameter
  std::string_view help;       ///< one line for `moebench list routings`
  /// Null: the gate's own choice on random tokens, or what is recorded in a file.
  std::unique_ptr<RoutingDraw> (*draw)(const RoutingDrawArgs&) = nullptr;
  /// Steps after which the pattern repeats; null: every step is drawn alike.
  int (*period)(const Shape&) = nullptr;
};

/// In the order of `moebench list routings`; the first is `random`.
std::span<const RoutingKind> routing_kinds();
/// "zipf:S (0 <= S <= 10)", or the name alone.
std::string form_of(const RoutingKind& kind);

/// Where experts lie. contiguous: in the order of their numbers, so that a skew by number is one of ranks. shuffled: in
/// an order drawn once per seed. eplb: in each step as a plan of EPLB has it, made from the steps before (moe/expert_plan.h).
enum class Placement { contiguous, shuffled, eplb };

struct RoutingDistribution {
  const RoutingKind* kind = &routing_kinds().front();
  /// NaN: the kind has one and none was given.
  double parameter = 0;
  Placement placement = Placement::contiguous;
  int window = 1;          ///< of placement eplb: the steps that a plan is made from
  std::string trace = {};  ///< of kind `trace`: what is behind its colon (trace/trace_selection.h)

  bool is_random() const { return kind == &routing_kinds().front(); }
  bool is_trace() const { return !trace.empty(); }
  bool lacks_parameter() const { return std::isnan(parameter); }
  bool operator==(const RoutingDistribution&) const = default;
};

/// "zipf:1.2", or "zipf" with its parameter to be found. Throws UsageError naming the valid forms.
RoutingDistribution parse_routing(std::string_view word);
std::string name_of(const RoutingDistribution& routing);
/// Reads "contiguous", "shuffled", "eplb" or "eplb:W" into the routing. Throws UsageError naming the valid forms.
void place(RoutingDistribution& routing, std::string_view word);
std::string placement_of(const RoutingDistribution& routing);
/// Steps after which the routing's pattern repeats: at least 1.
int period_of(const RoutingDistribution& routing, const Shape& shape);
/// Why it cannot be drawn by its kind alone: it lacks its parameter, or is a file. Empty if it can.
std::string why_not_drawn(const RoutingDistribution& routing);
/// Why inputs cannot be made that a gate of this shape routes so; empty if they can.
std::string why_not_planted(const Shape& shape, const RoutingDistribution& routing);

/// What draws it, with its experts placed; null for `random`. why_not_drawn() is empty. `steps`: the routing steps that
/// iterations rotate through, which placement eplb plans; 0: it plans the first one.
std::unique_ptr<RoutingDraw> make_draw(const Shape& shape, const RoutingDistribution& routing,
                                       std::uint64_t seed, int steps = 0);
/// `draw` with its experts where the routing's placement puts them.
std::unique_ptr<RoutingDraw> placed(std::unique_ptr<RoutingDraw> draw, const Shape& shape,
                                    const RoutingDistribution& routing, std::uint64_t seed, int steps);

}  // namespace moebench
