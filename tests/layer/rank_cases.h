// SPDX-License-Identifier: Apache-2.0
// The cases in which several ranks are held to one.
#pragma once

#include <string>
#include <vector>

#include "base/text.h"
#include "layer/dropping_gate.h"
#include "layer/layer.h"
#include "moe/workload.h"

namespace moebench {

struct RankCase {
  std::string name;
  Shape shape;
  RoutingDistribution routing = {};
  std::string engine = "loop";
  Exchange exchange = Exchange::fused;
  Overlap overlap = Overlap::none;
  const GateEntry* gate = &default_gate();
  GateOptions gate_options = {};
};

inline const std::vector<RankCase> kPlainRankCases = {
    {"even", {.tokens = 32, .hidden = 16, .ffn = 24, .experts = 8, .top_k = 2}},
    {"uneven_tokens_and_bias",
     {.tokens = 37, .hidden = 17, .ffn = 9, .experts = 4, .top_k = 3, .bias = true}},
    {"swiglu",
     {.tokens = 30, .hidden = 16, .ffn = 24, .experts = 8, .top_k = 2, .activation = Activation::swiglu}},
    {"ranks_without_tokens", {.tokens = 2, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 1}},
    {"no_tokens_at_all", {.tokens = 0, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 1}},
    {"all_to_one", {.tokens = 21, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1}, parse_routing("one")},
    {"zipf", {.tokens = 101, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2}, parse_routing("zipf:2")},
    {"every_expert", {.tokens = 19, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 4}},
    {"naive_mask", {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2}, {}, "naive-mask"},
    {"naive_rau", {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2}, {}, "naive-rau"},
    {"naive_sample", {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2}, {}, "naive-sample"},
    {"per_expert",
     {.tokens = 33, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::per_expert},
    {"direct",
     {.tokens = 33, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::direct},
    {"direct_bias_swiglu",
     {.tokens = 37,
      .hidden = 17,
      .ffn = 9,
      .experts = 8,
      .top_k = 2,
      .activation = Activation::swiglu,
      .bias = true},
     {},
     "loop",
     Exchange::direct},
    {"direct_zipf",
     {.tokens = 101, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     parse_routing("zipf:2"),
     "loop",
     Exchange::direct},
    {"direct_all_to_one",
     {.tokens = 21, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1},
     parse_routing("one"),
     "loop",
     Exchange::direct},
    {"direct_ranks_without_tokens",
     {.tokens = 2, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 1},
     {},
     "loop",
     Exchange::direct},
    {"direct_every_expert",
     {.tokens = 19, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 4},
     {},
     "loop",
     Exchange::direct},
    {"direct_no_tokens_at_all",
     {.tokens = 0, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 1},
     {},
     "loop",
     Exchange::direct},
    {"per_expert_zipf",
     {.tokens = 50, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 1},
     parse_routing("zipf:3"),
     "loop",
     Exchange::per_expert},
    {"dropped",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3, .bias = true},
     {},
     "loop",
     Exchange::fused,
     Overlap::none,
     &kDroppingGate},
    {"dropped_per_expert",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     {},
     "loop",
     Exchange::per_expert,
     Overlap::none,
     &kDroppingGate},
    {"dropped_naive_sample",
     {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2},
     {},
     "naive-sample",
     Exchange::fused,
     Overlap::none,
     &kDroppingGate},
    {"dropped_naive_rau",
     {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2},
     {},
     "naive-rau",
     Exchange::fused,
     Overlap::none,
     &kDroppingGate},
    {"dropped_direct",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3, .bias = true},
     {},
     "loop",
     Exchange::direct,
     Overlap::none,
     &kDroppingGate},
    {"dropped_direct_all_to_one",
     {.tokens = 21, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1},
     parse_routing("one"),
     "loop",
     Exchange::direct,
     Overlap::none,
     &kDroppingGate},
    {"dropped_ranks_with_one_token",  // all slots of token 0 are dropped
     {.tokens = 2, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 1},
     {},
     "loop",
     Exchange::direct,
     Overlap::none,
     &kDroppingGate},
    {"softmax_topk",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::fused,
     Overlap::none,
     &find_gate("softmax-topk")},
    {"softmax_topk_direct",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1},
     {},
     "loop",
     Exchange::direct,
     Overlap::none,
     &find_gate("softmax-topk")},
    {"losses_by_group",
     {.tokens = 32, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::fused,
     Overlap::none,
     &find_gate("sigmoid"),
     {.losses = {.aux = 20, .z = 2, .gate_group = 8}}},
    {"losses_by_sequence_and_a_capacity",
     {.tokens = 32, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     parse_routing("zipf:1"),
     "loop",
     Exchange::direct,
     Overlap::none,
     &default_gate(),
     {.capacity = {.factor = 1, .group = 8}, .losses = {.aux = 20, .sequence = 4}}},
    {"capacity_by_position",
     {.tokens = 32, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3, .bias = true},
     parse_routing("zipf:1"),
     "loop",
     Exchange::fused,
     Overlap::none,
     &default_gate(),
     {.capacity = {.factor = 0.75, .group = 8}}},
    {"capacity_by_score_direct",
     {.tokens = 32, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     {},
     "loop",
     Exchange::direct,
     Overlap::none,
     &find_gate("sigmoid"),
     {.capacity = {.factor = 0.5, .policy = DropPolicy::probs, .group = 4}}},
    {"capacity_by_priority_per_expert",
     {.tokens = 48, .hidden = 16, .ffn = 8, .experts = 4, .top_k = 2},
     parse_routing("hot:0.75"),
     "loop",
     Exchange::per_expert,
     Overlap::none,
     &find_gate("softmax-topk"),
     {.capacity = {.factor = 1, .policy = DropPolicy::priority, .group = 6}}},
    {"capacity_by_choice_all_to_one",
     {.tokens = 32, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     parse_routing("one"),
     "naive-rau",
     Exchange::fused,
     Overlap::none,
     &default_gate(),
     {.capacity = {.factor = 1.25, .min_rows = 1, .policy = DropPolicy::choice, .group = 8}}},
};

/// kPlainRankCases, and those of exchange direct with every overlap.
inline std::vector<RankCase> rank_cases() {
  std::vector<RankCase> cases = kPlainRankCases;
  for (const RankCase& plain : kPlainRankCases)
    for (const Overlap overlap : {Overlap::wgrad, Overlap::peer, Overlap::tile}) {
      if (plain.exchange != Exchange::direct) continue;
      RankCase& copy = cases.emplace_back(plain);
      copy.name = cat(plain.name, "_", name_of(overlap));
      copy.overlap = overlap;
    }
  return cases;
}

}  // namespace moebench
