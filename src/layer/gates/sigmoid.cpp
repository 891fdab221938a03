// SPDX-License-Identifier: Apache-2.0
// Gate `sigmoid`: a = σ(z), S = the K largest of a + b in the kept groups, p = γ·a_S / Σ a_S; with K = 1 p = γ·σ(z).
// γ is --gate-scale, b --gate-bias (0 without), groups --groups (all experts without).
// Source: DeepSeek-V3 (arXiv 2412.19437), equations 13 to 16, section 2.1.2; its code, inference/model.py, class Gate.
#include <cmath>

#include "layer/gates/affinity.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

struct Sigmoid {
  static double value(double z) { return 1 / (1 + std::exp(-z)); }
  static double relative_slope(double z) { return value(-z); }
};

std::unique_ptr<GateDefinition> define(const Shape& shape, const GateOptions& options) {
  return std::make_unique<AffinityDefinition<Sigmoid>>(GateScore::sigmoid, shape, options);
}

}  // namespace

constinit const GateEntry kSigmoidGate{.name = "sigmoid",
                                       .help = "the k largest, weighted by their sigmoids over their sum",
                                       .define = define,
                                       .make = make_rule_gate,
                                       .cost = gate_cost_with_logits,
                                       .why_not = why_not_affinity};

}  // namespace moebench
