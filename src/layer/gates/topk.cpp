// SPDX-License-Identifier: Apache-2.0
// Gate `topk`: S = the K largest logits, p = softmax over z_S. With K = 1 the weight is 1 and the gate learns nothing.
// Source: FastMoE (arXiv 2103.13262), section 2.1; Shazeer et al. (arXiv 1701.06538), equations 3 to 5, without noise.
// Cost: the products alone; choices and scores stay 8 bytes a slot.
#include <cmath>

#include "layer/gates/entries.h"

namespace moebench {
namespace {

class TopkDefinition final : public GateDefinition {
 public:
  GateRule rule() const override { return {.score = GateScore::softmax_of_chosen}; }

  std::vector<double> scores(std::span<const double> logits,
                             std::span<const std::int32_t> chosen) const override {
    std::vector<double> scores;
    double sum = 0;
    for (const std::int32_t e : chosen) sum += scores.emplace_back(std::exp(logits[e] - logits[chosen[0]]));
    for (double& score : scores) score /= sum;
    return scores;
  }

  /// The softmax's Jacobian is diag(p) − p·pᵀ.
  GateSlopes slopes(std::span<const double>, std::span<const std::int32_t> chosen,
                    std::span<const double> scores) const override {
    GateSlopes slopes{{scores.begin(), scores.end()}, std::vector<double>(experts_)};
    for (std::size_t j = 0; j < chosen.size(); ++j) slopes.slope[chosen[j]] = scores[j];
    return slopes;
  }

  explicit TopkDefinition(std::int64_t experts) : experts_(static_cast<std::size_t>(experts)) {}

 private:
  std::size_t experts_;
};

std::unique_ptr<GateDefinition> define(const Shape& shape, const GateOptions&) {
  return std::make_unique<TopkDefinition>(shape.experts);
}

}  // namespace

constinit const GateEntry kTopkGate{.name = "topk",
                                    .help = "softmax over the k largest logits, as in the FastMoE paper",
                                    .define = define,
                                    .make = make_rule_gate,
                                    .cost = gate_cost,
                                    .why_not = why_not_plain};

}  // namespace moebench
