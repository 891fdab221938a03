// SPDX-License-Identifier: Apache-2.0
// Draws the experts of tokens: what the kinds of routing (moe/routing_distribution.h) are made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "moe/shape.h"

namespace moebench {

struct StepPlans;

/// A pure function of (step, token) and of what it was made for.
class RoutingDraw {
 public:
  virtual ~RoutingDraw() = default;
  /// Writes K different experts for a global token. 0 <= token < tokens of the shape.
  virtual void choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const = 0;
  /// Where experts lie in each step, if that is planned (moe/expert_plan.h); null otherwise.
  virtual const StepPlans* plans() const { return nullptr; }
};

struct RoutingDrawArgs {
  Shape shape;
  double parameter = 0;
  std::uint64_t seed = 0;
};

/// The random numbers of one token in one step.
std::uint64_t key_of_token(std::uint64_t seed, int step, std::int64_t token);

inline bool contains(std::span<const std::int64_t> values, std::int64_t value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

/// Of E experts at least K and about a quarter: the hot set of the token-imbalance workloads.
std::int64_t hot_set_size(const Shape& shape);

// What the table's rows make. docs/routing.md defines each.
std::unique_ptr<RoutingDraw> draw_balanced(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_balanced_spread(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_hot(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_burst(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_rotate(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_one(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_zipf(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_lognormal(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_power_law(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_hot_rank(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_w1(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_w3(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_w4(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_w5(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_w6(const RoutingDrawArgs& args);
std::unique_ptr<RoutingDraw> draw_w7(const RoutingDrawArgs& args);

/// Steps after which the pattern repeats.
int period_of_rotate(const Shape& shape);
int period_of_w6(const Shape& shape);

}  // namespace moebench
