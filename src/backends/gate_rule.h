// SPDX-License-Identifier: Apache-2.0
// How the logits of a gate become a choice of experts and its weights: what the gate kernels of a backend are given.
// A gate is defined in layer/gates/; here is only what kernels distinguish.
#pragma once

namespace moebench {

/// How the logits z [E] of a token and its chosen experts S become the scores [K].
enum class GateScore {
  softmax_of_chosen,  ///< exp(z_j) / Σ over S of exp(z)
  softmax,            ///< exp(z_j) / Σ over all E of exp(z)
  sigmoid,            ///< scale · σ(z_j) / Σ over S of σ(z); with K = 1 scale · σ(z_j)
  sqrtsoftplus,       ///< the same with √(ln(1 + exp(z))) for σ(z)
};

/// The K experts with the largest logits are chosen, the lower expert on a tie; every score function rises with them.
struct GateRule {
  GateScore score = GateScore::softmax_of_chosen;
  float scale = 1;  ///< of sigmoid and sqrtsoftplus

  /// Whether every logit has a gradient, not only those of the chosen experts.
  constexpr bool has_dense_gradient() const { return score == GateScore::softmax; }
  /// Whether backward reads the logits.
  constexpr bool differentiates_logits() const { return score != GateScore::softmax_of_chosen; }
};

}  // namespace moebench
