// SPDX-License-Identifier: Apache-2.0
// The oracle's gradient of the gate's weight.
#include <algorithm>
#include <cmath>

#include "layer/oracle.h"
#include "layer/oracle_terms.h"

namespace moebench {

using namespace oracle;

std::optional<LossGradient> Oracle::loss_gradient(std::int64_t token, std::span<const double> logits) const {
  if (!losses_) return std::nullopt;
  std::span<const std::int32_t> counts = loss_counts_;
  if (!counts.empty()) counts = counts.subspan(token / loss_group_ * shape_.experts, shape_.experts);
  return losses_->gradient(logits, counts);
}

/// By the scores that the layer found; by the logits too if the gate needs them.
GateSlopes Oracle::slopes_of_layer(std::int64_t token) const {
  const auto scores = std::span(gate_output_.score).subspan(token * places(), places());
  return gate_->slopes(gate_->rule().differentiates_logits() ? logits_of(token) : std::vector<double>(),
                       chosen_of(token), std::vector<double>(scores.begin(), scores.end()));
}

/// body(token, expert, dscore, mean, slope) for every logit that has a gradient, in order of tokens.
template <class Body>
void Oracle::each_dlogit(Body body) const {
  const std::int64_t k = places();
  for (std::int64_t t = 0; t < shape_.tokens; ++t) {
    const auto chosen = chosen_of(t);
    const GateSlopes slopes = slopes_of_layer(t);
    GateMean mean;
    for (std::int64_t j = 0; j < k; ++j) {
      const double product = slopes.share[j] * gate_output_.dscore[t * k + j];
      mean.value += product, mean.terms += std::abs(product);
    }
    for (std::int64_t expert = 0; expert < shape_.experts; ++expert) {
      if (slopes.slope[expert] == 0) continue;
      const auto j = std::find(chosen.begin(), chosen.end(), expert) - chosen.begin();
      body(t, expert, j < k ? double{gate_output_.dscore[t * k + j]} : 0.0, mean, slopes.slope[expert]);
    }
  }
}

/// body(token, expert, value, size) for every logit, of the gate's losses.
template <class Body>
void Oracle::each_loss(Body body) const {
  for (std::int64_t t = 0; losses_ && t < shape_.tokens; ++t) {
    const auto gradient = loss_gradient(t, logits_of(t));
    for (std::int64_t expert = 0; expert < shape_.experts; ++expert)
      body(t, expert, gradient->value[expert], gradient->size[expert]);
  }
}

std::vector<double> Oracle::dgate() const {
  const std::int64_t h = shape_.hidden, e = shape_.experts;
  std::vector<double> gradient(static_cast<std::size_t>(h * e));
  each_dlogit([&](std::int64_t t, std::int64_t expert, double dscore, const GateMean& mean, double slope) {
    const double dlogit = slope * (dscore - mean.value);
    for (std::int64_t i = 0; i < h; ++i) gradient[i * e + expert] += x_[t * h + i] * dlogit;
  });
  each_loss([&](std::int64_t t, std::int64_t expert, double value, double) {
    for (std::int64_t i = 0; i < h; ++i) gradient[i * e + expert] += x_[t * h + i] * value;
  });
  return gradient;
}

/// The scores' gradients are taken from the layer: what errs is their difference.
std::vector<double> Oracle::dgate_terms() const {
  std::vector<double> squares(static_cast<std::size_t>(shape_.experts));
  each_dlogit([&](std::int64_t t, std::int64_t expert, double dscore, const GateMean& mean, double slope) {
    squares[expert] += squared(slope * (std::abs(dscore) + mean.terms) * norm_of(x_, t));
  });
  each_loss([&](std::int64_t t, std::int64_t expert, double, double size) {
    squares[expert] += squared(size * std::hypot(1, router_terms(t)) * norm_of(x_, t));
  });
  for (double& value : squares) value = std::sqrt(value);
  return squares;
}

}  // namespace moebench
