// SPDX-License-Identifier: Apache-2.0
// What logits weigh: the device side of backends/gate_rule.h.
#pragma once

#include "backends/cuda/stages/storage.cuh"
#include "backends/gate_rule.h"

namespace moebench::cuda {

__device__ inline bool is_softmax(const GateRule& rule) {
  return rule.score == GateScore::softmax_of_chosen || rule.score == GateScore::softmax;
}

/// Then the bias is the offsets of the token's group.
__device__ inline bool balances(const GateRule& rule) { return rule.balance.iterations > 0; }

__device__ inline bool ranks_by_score(const GateRule& rule) { return rule.groups > 1 || rule.bias; }

__device__ inline float sigmoid(float z) { return 1 / (1 + expf(-z)); }
__device__ inline float softplus(float z) { return fmaxf(z, 0) + log1pf(expf(-fabsf(z))); }

// kTopk: GateScore::softmax_of_chosen, a kernel of its own so that other gates cost it nothing; else as `rule` says.

/// What a logit weighs before the weights are divided by their sum. All lanes have the same rule.
template <bool kTopk>
__device__ float weight_of(const GateRule& rule, float logit, float most) {
  if (kTopk || is_softmax(rule)) return expf(logit - most);
  return rule.score == GateScore::sigmoid ? sigmoid(logit) : sqrtf(softplus(logit));
}

/// What the expert is ranked by.
template <bool kTopk>
__device__ float rank_of(const GateRule& rule, float logit, int expert) {
  if (kTopk || !ranks_by_score(rule)) return logit;
  if (balances(rule)) return logit + rule.bias[expert];
  const float weight = weight_of<false>(rule, logit, 0);
  return rule.bias ? weight + rule.bias[expert] : weight;
}

/// The derivative of a weight by its logit, over the weight; 1 for both softmaxes.
__device__ inline float relative_slope(const GateRule& rule, float logit) {
  if (rule.score == GateScore::sigmoid) return sigmoid(-logit);
  return logit < -20 ? 0.5f : sigmoid(logit) / (2 * softplus(logit));
}

}  // namespace moebench::cuda
