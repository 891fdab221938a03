// SPDX-License-Identifier: Apache-2.0
// Every gate of the table, those with options also with some, and one gate that drops: what tests run over.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "layer/dropping_gate.h"

namespace moebench {

struct GateCase {
  std::string name;
  const GateEntry* gate;
  GateOptions options = {};

  bool knows(const Shape& shape) const { return gate->why_not(shape, options).empty(); }
  /// All engines know slots, scores and dropped slots alike: every one is tried with the plain gates, one with the others.
  std::vector<std::string> engines(const Capabilities& backend) const {
    return options == GateOptions{} ? backend.engines() : std::vector<std::string>{"loop"};
  }
  /// With two choices or one, if it takes the shape only so; with whole groups, and places for the experts that a token may have.
  Shape fitted(Shape shape) const {
    if (options.capacity.group > 0) shape.tokens -= shape.tokens % (options.capacity.group * shape.ranks);
    shape.slots = slots_of(*gate, shape);
    for (const std::int64_t k : {shape.top_k, std::min<std::int64_t>(2, shape.experts), std::int64_t{1}}) {
      shape.top_k = k;
      if (knows(shape)) break;
    }
    return shape;
  }
  std::unique_ptr<GateDefinition> define(const Shape& shape) const { return gate->define(shape, options); }
};

inline std::vector<GateCase> gate_cases() {
  std::vector<GateCase> cases;
  for (const GateEntry* gate : gates()) {
    std::string name(gate->name);
    std::replace(name.begin(), name.end(), '-', '_');
    cases.push_back({name, gate});
    if (gate->all_experts)
      cases.back().options.capacity = {.factor = 1, .policy = DropPolicy::probs, .group = 4};
    if (gate->balances) cases.back().options.capacity.group = 4;
  }
  cases.push_back({"sinkhorn_over_one_token",
                   &find_gate("sinkhorn"),
                   {.capacity = {.group = 1}, .sinkhorn_iterations = 1}});
  cases.push_back({"dropping", &kDroppingGate});
  const LossOptions losses{.aux = 5, .sequence = 1, .z = 1};  // groups of one token are whole in any layout
  for (const char* name : {"topk", "sigmoid", "sqrtsoftplus"})
    cases.push_back({std::string(name) + "_with_losses", &find_gate(name), {.losses = losses}});
  const auto two = [](std::int64_t kept, GroupScore score) {
    return ExpertGroups{.count = 2, .kept = kept, .score = score};
  };
  for (const char* name : {"sigmoid", "sqrtsoftplus"}) {
    const GateEntry* gate = &find_gate(name);
    const std::string of = name;
    cases.push_back({of + "_scaled", gate, {.scale = 2.5}});
    cases.push_back({of + "_biased", gate, {.bias = 0.75}});
    cases.push_back({of + "_with_a_moving_bias", gate, {.bias_update = 0.1}});
    cases.push_back({of + "_grouped", gate, {.groups = two(1, GroupScore::megatron)}});
    cases.push_back({of + "_grouped_by_best", gate, {.groups = two(1, GroupScore::deepseek)}});
    cases.push_back(
        {of + "_with_all", gate, {.groups = two(1, GroupScore::deepseek), .scale = 2.5, .bias = 0.75}});
    cases.push_back({of + "_in_four_groups",
                     gate,
                     {.groups = {.count = 4, .kept = 2}, .scale = 0.5, .bias = 3, .seed = 7}});
  }
  return cases;
}

}  // namespace moebench
