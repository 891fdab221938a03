// SPDX-License-Identifier: Apache-2.0
// Gate `sqrtsoftplus`: a = √ln(1 + e^z), else as sigmoid: S = the K largest of a + b, p = γ·a_S / Σ a_S; with K = 1 p = γ·a.
// Source: Megatron-LM's router, score function sqrtsoftplus.
#include <cmath>

#include "layer/gates/affinity.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

/// ln(1 + e^z), which does not overflow.
double softplus(double z) { return z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z)); }

struct SqrtSoftplus {
  static double value(double z) { return std::sqrt(softplus(z)); }
  /// σ(z) / (2 · softplus(z)), which tends to 1/2 as z falls.
  static double relative_slope(double z) {
    return z < -700 ? 0.5 : 1 / (1 + std::exp(-z)) / (2 * softplus(z));
  }
};

std::unique_ptr<GateDefinition> define(const Shape& shape, const GateOptions& options) {
  return std::make_unique<AffinityDefinition<SqrtSoftplus>>(GateScore::sqrtsoftplus, shape, options);
}

}  // namespace

constinit const GateEntry kSqrtsoftplusGate{
    .name = "sqrtsoftplus",
    .help = "the k largest, weighted by the roots of their softplus over their sum",
    .define = define,
    .make = make_rule_gate,
    .cost = gate_cost_with_logits,
    .why_not = why_not_affinity};

}  // namespace moebench
