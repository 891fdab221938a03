// SPDX-License-Identifier: Apache-2.0
// The losses of a gate, in double precision: their values, and their gradients by the logits. They are added to the loss whose
// gradient by the outputs is dY.
//
// Auxiliary (load balancing), of a group of N consecutive tokens: α·E/(K·N²) · Σ_e c_e · Σ_t s_te, with c_e the group's choices
// of expert e, before slots are dropped, and s a token's scores over all experts: a softmax, or affinities over their sum. The
// mean over all groups. c is a constant. Even routing gives α.
// z: Z · mean over all tokens of (ln Σ_e exp z_te)².
// Sources: Switch Transformers (arXiv 2101.03961), equations 4 to 6; DeepSeek-V3 (arXiv 2412.19437), equations 17 to 20, by
// sequence; ST-MoE (arXiv 2202.08906), equation 5; Megatron-LM, switch_load_balancing_loss_func and z_loss_func. Megatron-LM
// counts the choices that unbiased scores without groups would make; here c counts those that were made.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layer/gates/gate.h"

namespace moebench {

struct GateLossValues {
  double aux = 0, z = 0;
};

/// By a logit, and the size of the terms that it is a sum of.
struct LossGradient {
  std::vector<double> value, size;  ///< [E]
};

class GateLosses {
 public:
  /// `gate` outlives it.
  GateLosses(const GateDefinition& gate, const Shape& shape, const LossOptions& options)
      : gate_(gate), shape_(shape), options_(options) {}

  /// [groups, E] of the choices [t, K] of whole groups; empty without an auxiliary loss.
  std::vector<std::int32_t> counts(std::span<const std::int32_t> chosen) const;
  /// The share of these tokens, whole groups: logits [t, E], chosen [t, K]. Shares of ranks add up.
  GateLossValues values(std::span<const double> logits, std::span<const std::int32_t> chosen) const;
  /// Of one token by its logits [E]. counts [E]: those of its group, or empty.
  LossGradient gradient(std::span<const double> logits, std::span<const std::int32_t> counts) const;

 private:
  const GateDefinition& gate_;
  Shape shape_;
  LossOptions options_;
};

/// What a backend multiplies by.
LossFactors loss_factors(const LossOptions& options, const Shape& shape);

}  // namespace moebench
