// SPDX-License-Identifier: Apache-2.0
// Gate `softmax-topk`: s = softmax(z) over all experts, S = the K largest, p = s_S, not renormalised: a token's scores sum
// to less than 1. Every logit has a gradient. Renormalised, p = s_S / Σ s_S, it is `topk`: the sum over all experts cancels.
// Source: Switch Transformers (arXiv 2101.03961), equations 1 and 2, for K = 1; Megatron-LM's router with its softmax before
// the choice (--moe-router-pre-softmax).
// Cost: that of topk, and the logits, which forward keeps (4·T·E bytes) and backward reads.
#include <cmath>

#include "layer/gates/entries.h"

namespace moebench {
namespace {

/// e^(z_e − z_largest) / Σ, [E].
std::vector<double> softmax(std::span<const double> logits, double largest) {
  std::vector<double> values;
  double sum = 0;
  for (const double logit : logits) sum += values.emplace_back(std::exp(logit - largest));
  for (double& value : values) value /= sum;
  return values;
}

class SoftmaxTopkDefinition final : public GateDefinition {
 public:
  GateRule rule() const override { return {.score = GateScore::softmax}; }

  std::vector<double> scores(std::span<const double> logits,
                             std::span<const std::int32_t> chosen) const override {
    const auto all = softmax(logits, logits[chosen[0]]);
    std::vector<double> scores;
    for (const std::int32_t e : chosen) scores.push_back(all[e]);
    return scores;
  }

  /// The Jacobian is diag(s) − s·sᵀ over all experts, of which S has dscores.
  GateSlopes slopes(std::span<const double> logits, std::span<const std::int32_t> chosen,
                    std::span<const double> scores) const override {
    return {.share = {scores.begin(), scores.end()}, .slope = softmax(logits, logits[chosen[0]])};
  }
};

std::unique_ptr<GateDefinition> define(const Shape&, const GateOptions&) {
  return std::make_unique<SoftmaxTopkDefinition>();
}

}  // namespace

constinit const GateEntry kSoftmaxTopkGate{
    .name = "softmax-topk",
    .help = "the k largest of a softmax over all experts, not renormalised (Switch with k = 1)",
    .define = define,
    .make = make_rule_gate,
    .cost = gate_cost_with_logits,
    .why_not = why_not_plain};

}  // namespace moebench
