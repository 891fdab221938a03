// SPDX-License-Identifier: Apache-2.0
// What gates have in common whose scores are affinities a(z) of the chosen experts alone, divided by their sum; with
// K = 1 the affinity itself, so that the gate learns.
#pragma once

#include "layer/gates/gate.h"

namespace moebench {

/// `Affinity` has value(z), and relative_slope(z) = a'(z) / a(z). a rises with z.
template <class Affinity>
class AffinityDefinition final : public GateDefinition {
 public:
  AffinityDefinition(GateScore score, std::int64_t experts)
      : score_(score), experts_(static_cast<std::size_t>(experts)) {}

  GateRule rule() const override { return {.score = score_}; }

  std::vector<double> scores(std::span<const double> logits,
                             std::span<const std::int32_t> chosen) const override {
    std::vector<double> scores;
    double sum = 0;
    for (const std::int32_t e : chosen) sum += scores.emplace_back(Affinity::value(logits[e]));
    if (chosen.size() == 1) return scores;
    for (double& score : scores) score /= sum;
    return scores;
  }

  /// ∂p_j/∂z_k = p_k · a'(z_k) / a(z_k) · (δ_jk − p_j); with K = 1 the derivative of a.
  GateSlopes slopes(std::span<const double> logits, std::span<const std::int32_t> chosen,
                    std::span<const double> scores) const override {
    GateSlopes slopes{{scores.begin(), scores.end()}, std::vector<double>(experts_)};
    if (chosen.size() == 1) slopes.share = {0};
    for (std::size_t j = 0; j < chosen.size(); ++j)
      slopes.slope[chosen[j]] = scores[j] * Affinity::relative_slope(logits[chosen[j]]);
    return slopes;
  }

 private:
  GateScore score_;
  std::size_t experts_;
};

}  // namespace moebench
