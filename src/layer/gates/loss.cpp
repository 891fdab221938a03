// SPDX-License-Identifier: Apache-2.0
#include "layer/gates/loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moebench {
namespace {

double log_sum_exp(std::span<const double> logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double z : logits) sum += std::exp(z - most);
  return most + std::log(sum);
}

/// α·E/(K·N²) over the number of groups: of one choice.
double aux_factor(const LossOptions& options, const Shape& shape) {
  const auto n = static_cast<double>(options.group_of(shape)), tokens = static_cast<double>(shape.tokens);
  if (options.aux == 0 || tokens == 0) return 0;
  return options.aux * static_cast<double>(shape.experts) / (static_cast<double>(shape.top_k) * n * tokens);
}

}  // namespace

std::vector<std::int32_t> GateLosses::counts(std::span<const std::int32_t> chosen) const {
  if (options_.aux == 0 || chosen.empty()) return {};
  const std::int64_t of_group = options_.group_of(shape_) * shape_.top_k;
  std::vector<std::int32_t> counts(chosen.size() / static_cast<std::size_t>(of_group) *
                                   static_cast<std::size_t>(shape_.experts));
  for (std::int64_t slot = 0; slot < std::ssize(chosen); ++slot)
    ++counts[slot / of_group * shape_.experts + chosen[slot]];
  return counts;
}

GateLossValues GateLosses::values(std::span<const double> logits,
                                  std::span<const std::int32_t> chosen) const {
  const auto e = static_cast<std::size_t>(shape_.experts);
  const auto all = counts(chosen);
  const double factor = aux_factor(options_, shape_);
  GateLossValues values;
  for (std::size_t t = 0; t * e < logits.size(); ++t) {
    const auto row = logits.subspan(t * e, e);
    const double lse = log_sum_exp(row);
    values.z += options_.z * lse * lse / static_cast<double>(shape_.tokens);
    if (all.empty()) continue;
    const auto scores = gate_.spread(row).scores;
    const std::int32_t* of_group = &all[t / static_cast<std::size_t>(options_.group_of(shape_)) * e];
    for (std::size_t i = 0; i < e; ++i) values.aux += factor * of_group[i] * scores[i];
  }
  return values;
}

/// ∂s_j/∂z_k = s_k·r_k·(δ_jk − s_j), so that of a·s it is s_k·r_k·(a_k − Σ_j a_j·s_j); ∂lse/∂z = softmax(z).
LossGradient GateLosses::gradient(std::span<const double> logits,
                                  std::span<const std::int32_t> counts) const {
  const std::size_t e = logits.size();
  LossGradient gradient{std::vector<double>(e), std::vector<double>(e)};
  if (options_.z > 0) {
    const double lse = log_sum_exp(logits);
    for (std::size_t i = 0; i < e; ++i) {
      gradient.value[i] =
          2 * options_.z / static_cast<double>(shape_.tokens) * lse * std::exp(logits[i] - lse);
      gradient.size[i] = std::abs(gradient.value[i]);
    }
  }
  if (counts.empty()) return gradient;
  const SpreadScores spread = gate_.spread(logits);
  const double factor = aux_factor(options_, shape_);
  double mean = 0;
  for (std::size_t i = 0; i < e; ++i) mean += factor * counts[i] * spread.scores[i];
  for (std::size_t i = 0; i < e; ++i) {
    const double slope = spread.scores[i] * spread.relative_slopes[i], own = factor * counts[i];
    gradient.value[i] += slope * (own - mean);
    gradient.size[i] += slope * (own + mean);
  }
  return gradient;
}

LossFactors loss_factors(const LossOptions& options, const Shape& shape) {
  if (shape.tokens == 0) return {};
  return {.aux = static_cast<float>(aux_factor(options, shape)),
          .z = static_cast<float>(2 * options.z / static_cast<double>(shape.tokens)),
          .group = options.aux > 0 ? options.group_of(shape) : 0};
}

}  // namespace moebench
