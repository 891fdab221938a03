// SPDX-License-Identifier: Apache-2.0
// How the logits of a gate become a choice of experts and its weights: what the gate kernels of a backend are given.
// A gate is defined in layer/gates/; here is only what kernels distinguish.
#pragma once

#include <cstdint>

namespace moebench {

/// Normal numbers by counter (base/normal.h) on the logits, before anything else looks at them. Their gradient passes as if
/// they were not there.
struct GateNoise {
  float deviation = 0;     ///< 0: none
  bool replaces = false;   ///< they take the logits' place; else they are added
  std::uint64_t key = 0;   ///< of the step
  std::int64_t first = 0;  ///< number of the first logit: that of its token among all, times E
};

/// Sinkhorn's algorithm over the logits of each group of tokens, from which come numbers that even out the group's choices: they
/// are added to the logits where experts are ranked, and have no gradient (layer/gates/sinkhorn.cpp).
struct GateBalance {
  int iterations = 0;        ///< 0: none
  std::int64_t group = 0;    ///< tokens, divides a rank's
  float* offsets = nullptr;  ///< [T / group, E] in backend memory, written by the forward pass
  float* scratch = nullptr;  ///< balance_scratch() numbers

  constexpr bool any() const { return iterations > 0; }
};

/// Tokens whose sums are one part of a group's.
inline constexpr std::int64_t kBalanceTokens = 64;
constexpr std::int64_t balance_parts(std::int64_t group) {
  return (group + kBalanceTokens - 1) / kBalanceTokens;
}
constexpr std::int64_t balance_scratch(std::int64_t tokens, std::int64_t group, std::int64_t experts) {
  return tokens / group * balance_parts(group) * experts;
}

/// What the gradients of a gate's losses by its logits are multiplied by (layer/gates/loss.h); 0: there is no such loss.
struct LossFactors {
  float aux = 0;           ///< of one choice: α·E/(K·N·T), N tokens of a group and T of all ranks
  float z = 0;             ///< 2·Z/T
  std::int64_t group = 0;  ///< N, divides a rank's tokens; with aux

  constexpr bool any() const { return aux > 0 || z > 0; }
};

/// How the logits z [E] of a token and its chosen experts S become the scores [K].
enum class GateScore {
  softmax_of_chosen,  ///< exp(z_j) / Σ over S of exp(z)
  softmax,            ///< exp(z_j) / Σ over all E of exp(z)
  sigmoid,            ///< scale · σ(z_j) / Σ over S of σ(z); with K = 1 scale · σ(z_j)
  sqrtsoftplus,       ///< the same with √(ln(1 + exp(z))) for σ(z)
};

/// The K experts with the largest logits are chosen, the lower expert on a tie; every score function rises with them.
/// Of sigmoid and sqrtsoftplus they may be ranked by the σ(z) or √… of the logit, plus a bias that the scores are without;
/// and chosen among those of the `kept_groups` groups for which the sum of the group's `counted` best ranks is largest, the
/// lower group on a tie. Then E <= 1024, groups <= 32.
struct GateRule {
  GateScore score = GateScore::softmax_of_chosen;
  float scale = 1;                               ///< of sigmoid and sqrtsoftplus
  int groups = 1, kept_groups = 1, counted = 1;  ///< groups divides E
  const float* bias = nullptr;                   ///< [E] in backend memory, or null
  GateBalance balance = {};  ///< with a softmax or one sigmoid, and neither groups nor bias
  GateNoise noise = {};
  /// Every expert is a choice, in the order of experts: K = E. With softmax_of_chosen and nothing else.
  bool all_experts = false;

  /// Whether experts are ranked by more than their logits.
  constexpr bool ranks_by_score() const { return groups > 1 || bias || balance.any(); }

  /// Whether every logit has a gradient, not only those of the chosen experts.
  constexpr bool has_dense_gradient() const { return score == GateScore::softmax; }
  /// Whether backward reads the logits.
  constexpr bool differentiates_logits() const { return score != GateScore::softmax_of_chosen; }
};

}  // namespace moebench
