// SPDX-License-Identifier: Apache-2.0
// What gates have in common whose scores are affinities a(z) of the chosen experts alone, divided by their sum, times γ;
// with K = 1 the affinity itself times γ, so that the gate learns. A bias b moves the choice alone: it has no gradient.
#pragma once

#include "layer/gates/gate.h"

namespace moebench {

/// `Affinity` has value(z), and relative_slope(z) = a'(z) / a(z). a rises with z.
template <class Affinity>
class AffinityDefinition final : public GateDefinition {
 public:
  AffinityDefinition(GateScore score, const Shape& shape, const GateOptions& options)
      : experts_(static_cast<std::size_t>(shape.experts)), scale_(options.scale) {
    rule_ = {.score = score, .scale = static_cast<float>(options.scale)};
    for (std::size_t e = 0; e < experts_ && options.biased(); ++e)
      bias_.push_back(options.bias_field().at(e));
    if (!options.groups.limit()) return;
    rule_.groups = static_cast<int>(options.groups.count);
    rule_.kept_groups = static_cast<int>(options.groups.kept);
    rule_.counted = static_cast<int>(options.groups.counted(shape.top_k, options.biased()));
  }

  GateRule rule() const override { return rule_; }
  void set_bias(std::span<const float> bias) override { bias_.assign(bias.begin(), bias.end()); }

  std::vector<double> ranking(std::span<const double> logits) const override {
    if (bias_.empty() && rule_.groups == 1) return GateDefinition::ranking(logits);
    std::vector<double> ranks;
    for (std::size_t e = 0; e < logits.size(); ++e)
      ranks.push_back(Affinity::value(logits[e]) + (bias_.empty() ? 0.0f : bias_[e]));
    return ranks;
  }

  std::vector<double> scores(std::span<const double> logits,
                             std::span<const std::int32_t> chosen) const override {
    std::vector<double> scores;
    double sum = 0;
    for (const std::int32_t e : chosen) sum += scores.emplace_back(Affinity::value(logits[e]));
    if (chosen.size() == 1) sum = 1;
    for (double& score : scores) score *= scale_ / sum;
    return scores;
  }

  /// ∂p_j/∂z_k = p_k · a'(z_k) / a(z_k) · (δ_jk − p_j/γ); with K = 1 γ times the derivative of a.
  GateSlopes slopes(std::span<const double> logits, std::span<const std::int32_t> chosen,
                    std::span<const double> scores) const override {
    GateSlopes slopes{{scores.begin(), scores.end()}, std::vector<double>(experts_)};
    for (double& share : slopes.share) share = chosen.size() == 1 ? 0 : share / scale_;
    for (std::size_t j = 0; j < chosen.size(); ++j)
      slopes.slope[chosen[j]] = scores[j] * Affinity::relative_slope(logits[chosen[j]]);
    return slopes;
  }

  SpreadScores spread(std::span<const double> logits) const override {
    SpreadScores spread;
    double sum = 0;
    for (const double z : logits) {
      sum += spread.scores.emplace_back(Affinity::value(z));
      spread.relative_slopes.push_back(Affinity::relative_slope(z));
    }
    for (double& score : spread.scores) score /= sum;
    return spread;
  }

 private:
  std::size_t experts_;
  double scale_;
  std::vector<float> bias_;  ///< [E], or none
  GateRule rule_;
};

}  // namespace moebench
