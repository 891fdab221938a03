// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "moe/expert_plan.h"
#include "moe/routing_distribution.h"

namespace moebench {
namespace {

using Plan = std::vector<std::int64_t>;

TEST(PlanExperts, IsTheExampleThatEplbPublishes) {
  // README of deepseek-ai/EPLB, "Interface and Example": two layers, 12 experts in 4 groups, 16 slots, 2 nodes, 8 GPUs.
  const PlanTask task{.slots = 16, .groups = 4, .nodes = 2, .ranks = 8};
  const std::vector<double> first{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
      second{20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27};
  EXPECT_EQ(plan_experts(first, task), (Plan{5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1}));
  EXPECT_EQ(plan_experts(second, task), (Plan{7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}));
}

TEST(PlanExperts, PutsEveryExpertSomewhereAndFillsAllSlots) {
  for (const PlanTask& task :
       {PlanTask{.slots = 12, .ranks = 4}, PlanTask{.slots = 16, .ranks = 4},
        PlanTask{.slots = 24, .groups = 3, .nodes = 2, .ranks = 8},  // nodes do not divide groups
        PlanTask{.slots = 12, .groups = 4, .nodes = 4, .ranks = 12}}) {
    std::vector<double> load(12);
    for (std::size_t e = 0; e < load.size(); ++e) load[e] = static_cast<double>(e * e % 7);
    Plan plan = plan_experts(load, task);
    EXPECT_EQ(std::ssize(plan), task.slots);
    std::sort(plan.begin(), plan.end());
    plan.erase(std::unique(plan.begin(), plan.end()), plan.end());
    EXPECT_EQ(plan.size(), load.size());
  }
}

TEST(PlanExperts, RefusesWhatCannotBe) {
  const std::vector<double> load(12, 1.0);
  for (const PlanTask& task :
       {PlanTask{.slots = 8, .ranks = 4}, PlanTask{.slots = 13, .ranks = 4},
        PlanTask{.slots = 12, .ranks = 0}, PlanTask{.slots = 12, .groups = 6, .nodes = 3, .ranks = 4},
        PlanTask{.slots = 12, .groups = 8, .nodes = 1, .ranks = 4}})
    EXPECT_THROW(plan_experts(load, task), UsageError);
}

TEST(PlanSteps, UseThePastAndAreMeasuredOnTheStep) {
  // Four experts on two ranks. Experts 0 and 1 are hot in steps 0 and 1, experts 2 and 3 in step 2.
  const std::vector<std::vector<double>> rows{{6, 6, 1, 1}, {6, 6, 1, 1}, {1, 1, 6, 6}};
  const StepPlans plans = plan_steps(rows, 2, 1);
  for (const PlanEffect& effect : plans.effects) {
    EXPECT_DOUBLE_EQ(effect.before, 12.0 / 7);
    EXPECT_DOUBLE_EQ(effect.oracle, 1);
  }
  EXPECT_DOUBLE_EQ(plans.effects[1].planned, 1);
  const StepPlans whole = plan_steps(rows, 2, 50);
  EXPECT_EQ(whole.window, 2) << "the step itself is no past";
}

TEST(PlanSteps, AStalePlanCanLose) {
  // By number even in step 1; the plan from step 0 puts experts 0 and 2 together.
  const std::vector<std::vector<double>> rows{{8, 7, 1, 2}, {5, 0, 5, 0}};
  const StepPlans plans = plan_steps(rows, 2, 1);
  EXPECT_DOUBLE_EQ(plans.effects[1].before, 1);
  EXPECT_DOUBLE_EQ(plans.effects[1].planned, 2) << "8 with 1 and 7 with 2";
  EXPECT_DOUBLE_EQ(plans.effects[1].oracle, 1);
  EXPECT_GT(plans.effects[0].moved, 0);
  EXPECT_EQ(plans.effects[0].moved, plans.effects[1].moved) << "there and back";
  EXPECT_EQ(plans.effects[0].busiest * 2, plans.effects[0].moved) << "as many come to each rank";
}

TEST(PlanSteps, OneStepIsPlannedFromItself) {
  const std::vector<std::vector<double>> rows{{9, 8, 1, 1, 1, 1}};
  const StepPlans plans = plan_steps(rows, 3, 4);
  EXPECT_DOUBLE_EQ(plans.effects[0].planned, plans.effects[0].oracle);
  EXPECT_EQ(plans.effects[0].moved, 0);
}

/// Rows of the ranks in a step.
std::vector<std::int64_t> rank_rows(const RoutingDraw& draw, const Shape& shape, int step) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.ep)),
      chosen(static_cast<std::size_t>(shape.top_k));
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    draw.choose(step, token, chosen);
    std::sort(chosen.begin(), chosen.end());
    EXPECT_TRUE(std::adjacent_find(chosen.begin(), chosen.end()) == chosen.end()) << "different experts";
    for (const std::int64_t expert : chosen) ++rows[expert / shape.experts_per_rank()];
  }
  return rows;
}

TEST(PlannedDraw, DrawsWhatThePlansSay) {
  const Shape shape{.tokens = 512, .hidden = 64, .ffn = 8, .experts = 32, .top_k = 4, .ranks = 4, .ep = 4};
  RoutingDistribution routing = parse_routing("W6");
  place(routing, "eplb");
  const int steps = period_of(routing, shape);
  const auto draw = make_draw(shape, routing, 3, steps);
  ASSERT_NE(draw->plans(), nullptr);
  double before = 0, planned = 0;
  for (int step = 0; step < steps; ++step) {
    const auto rows = rank_rows(*draw, shape, step);
    const PlanEffect& effect = draw->plans()->effects[step];
    EXPECT_DOUBLE_EQ(static_cast<double>(*std::max_element(rows.begin(), rows.end())) * 4 / (512 * 4),
                     effect.planned);
    EXPECT_LE(effect.oracle, effect.planned + 1e-12);
    before += effect.before / steps, planned += effect.planned / steps;
  }
  EXPECT_GT(before, 2.5) << "three of four tokens on one rank";
  EXPECT_LT(planned, 1.6) << "the block moves every third step";
  EXPECT_EQ(make_draw(shape, parse_routing("W6"), 3, steps)->plans(), nullptr);
}

}  // namespace
}  // namespace moebench
