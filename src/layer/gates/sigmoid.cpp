// SPDX-License-Identifier: Apache-2.0
// Gate `sigmoid`: a = σ(z), S = the K largest, p = a_S / Σ a_S; with K = 1 p = σ(z).
// Source: DeepSeek-V3 (arXiv 2412.19437), equations 13 to 15, without its bias, its groups and its scaling factor.
#include <cmath>

#include "layer/gates/affinity.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

struct Sigmoid {
  static double value(double z) { return 1 / (1 + std::exp(-z)); }
  static double relative_slope(double z) { return value(-z); }
};

std::unique_ptr<GateDefinition> define(const Shape& shape) {
  return std::make_unique<AffinityDefinition<Sigmoid>>(GateScore::sigmoid, shape.experts);
}

}  // namespace

constinit const GateEntry kSigmoidGate{.name = "sigmoid",
                                       .help = "the k largest, weighted by their sigmoids over their sum",
                                       .define = define,
                                       .make = make_rule_gate,
                                       .cost = gate_cost_with_logits,
                                       .why_not = any_shape};

}  // namespace moebench
