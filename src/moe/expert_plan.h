// SPDX-License-Identifier: Apache-2.0
// Where experts shall lie so that ranks get about as many rows: the expert-parallel load balancer of DeepSeek (EPLB,
// deepseek-ai/EPLB, README and eplb.py), and what its plans do to the load of routing steps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moe/routing_draw.h"
#include "moe/shape.h"

namespace moebench {

/// What a plan is made for. `slots` is a multiple of `ranks` and at least the number of experts; what exceeds it are copies.
/// Experts come in `groups`, which stay on a node if `nodes` divides them; else groups and nodes are not looked at.
struct PlanTask {
  std::int64_t slots = 0, groups = 1, nodes = 1, ranks = 1;
};

/// Which expert lies in each slot [slots]; those of a rank are next to each other. `load` [E]: rows of each expert. Ties go to
/// the lower index. Throws UsageError for a task that cannot be.
std::vector<std::int64_t> plan_experts(std::span<const double> load, const PlanTask& task);

/// What the plans of routing steps do, rows counted over all tokens.
struct PlanEffect {
  double before = 0, planned = 0,
         oracle =
             0;  ///< max / mean rows of ranks: by number, by the plan, by a plan made from the step itself
  std::int64_t moved = 0;    ///< experts whose rank is another than in the step before
  std::int64_t busiest = 0;  ///< of these, those that come to the rank that most come to
};

/// A plan per routing step, made from the steps before it: step s from s − window … s − 1, around the beginning.
struct StepPlans {
  int window = 1;
  std::vector<std::vector<std::int64_t>> slot_of;  ///< [step][E]
  std::vector<PlanEffect> effects;                 ///< [step]
};

/// `rows` [steps][E], at least one step. Every expert has one slot, E / ranks of them on each rank. One step is planned from itself:
/// iterations repeat it.
StepPlans plan_steps(std::span<const std::vector<double>> rows, std::int64_t ranks, int window);

/// Draws as `inner` does, its experts renumbered by the plans of `steps` routing steps, for the ranks of an expert-parallel group.
class PlannedDraw final : public RoutingDraw {
 public:
  /// Draws and counts all tokens of all steps.
  PlannedDraw(std::unique_ptr<RoutingDraw> inner, const Shape& shape, int steps, int window);
  void choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const override;
  const StepPlans* plans() const override { return &plans_; }

 private:
  std::unique_ptr<RoutingDraw> inner_;
  StepPlans plans_;
};

}  // namespace moebench
