// SPDX-License-Identifier: Apache-2.0
#include "moe/workload.h"

#include <cmath>

#include "base/error.h"
#include "moe/random_field.h"

namespace moebench {
namespace {

/// Amplitude of a uniform field of unit variance.
const float kUnit = std::sqrt(3.0f);

/// By how much planting raises a chosen logit. Logits are about N(0, 1), so a chosen one overtakes the
/// rest unless two of them are 6 standard deviations out in opposite directions.
constexpr float kPlantedLogit = 12.0f;

/// Lower Cholesky factor of the symmetric a [n, n], in place. Throws UsageError if it is singular.
void factorise(std::vector<double>& a, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::int64_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (i == j && sum < 1e-6) throw UsageError("routing cannot be planted: gate columns are dependent");
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
  }
}

/// The rows P [E, H] = (WᵀW)⁻¹ Wᵀ of the gate's W [H, E]: x + P[e] has logit e raised by exactly 1.
std::vector<float> planting_rows(const Shape& shape, const UniformField& gate) {
  const std::int64_t h = shape.hidden, e = shape.experts;
  std::vector<double> p(e * h), gram(e * e);  // p starts as Wᵀ
  for (std::int64_t i = 0; i < e; ++i)
    for (std::int64_t k = 0; k < h; ++k) p[i * h + k] = gate.at(k * e + i);
  for (std::int64_t i = 0; i < e; ++i)
    for (std::int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < h; ++k) sum += p[i * h + k] * p[j * h + k];
      gram[i * e + j] = gram[j * e + i] = sum;
    }
  factorise(gram, e);
  const auto subtract = [&](std::int64_t from, std::int64_t what, double factor) {
    for (std::int64_t k = 0; k < h; ++k) p[from * h + k] -= factor * p[what * h + k];
  };
  const auto scale = [&](std::int64_t row) {
    for (std::int64_t k = 0; k < h; ++k) p[row * h + k] /= gram[row * e + row];
  };
  for (std::int64_t i = 0; i < e; ++i) {  // L z = Wᵀ
    for (std::int64_t j = 0; j < i; ++j) subtract(i, j, gram[i * e + j]);
    scale(i);
  }
  for (std::int64_t i = e - 1; i >= 0; --i) {  // Lᵀ p = z
    for (std::int64_t j = i + 1; j < e; ++j) subtract(i, j, gram[j * e + i]);
    scale(i);
  }
  return {p.begin(), p.end()};
}

Parameter of_shared(Parameter parameter) {
  switch (parameter) {
    case Parameter::w1:
      return Parameter::shared_w1;
    case Parameter::b1:
      return Parameter::shared_b1;
    case Parameter::w2:
      return Parameter::shared_w2;
    case Parameter::b2:
      return Parameter::shared_b2;
    default:
      return parameter;
  }
}

}  // namespace

Workload::Workload(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed,
                   WorkloadOptions options)
    : shape_(shape),
      choices_(shape.top_k),
      seed_(seed),
      steps_(options.steps),
      draw_(std::move(options.draw)) {
  if (const std::string why = why_not_drawn(routing); !why.empty() && !draw_) throw UsageError(why);
  if (!draw_) draw_ = make_draw(shape, routing, seed, steps_);
  if (!draw_ || !options.planted) return;
  if (const std::string why = why_not_planted(shape, routing); !why.empty()) throw UsageError(why);
  planting_ = planting_rows(shape, field(Parameter::gate));
}

void Workload::input(int step, std::int64_t first, std::int64_t tokens, std::span<float> x) const {
  const std::int64_t h = shape_.hidden;
  MB_ASSERT(std::ssize(x) == tokens * h);
  const UniformField noise{key_of(seed_, RandomField::input, step), kUnit};
  for (std::int64_t i = 0; i < tokens * h; ++i) x[i] = noise.at(first * h + i);
  if (planting_.empty()) return;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (const std::int64_t expert : target_experts(step, first + t))
      for (std::int64_t i = 0; i < h; ++i) x[t * h + i] += kPlantedLogit * planting_[expert * h + i];
}

void Workload::output_gradient(int step, std::int64_t first, std::int64_t tokens, std::span<float> dy) const {
  MB_ASSERT(std::ssize(dy) == tokens * shape_.hidden);
  const UniformField noise{key_of(seed_, RandomField::output_gradient, step), kUnit};
  for (std::int64_t i = 0; i < std::ssize(dy); ++i) dy[i] = noise.at(first * shape_.hidden + i);
}

Workload Workload::shared() const {
  Workload shared = *this;
  shared.shape_ = shared_shape(shape_);
  shared.is_of_shared_ = true;
  return shared;
}

UniformField Workload::field(Parameter parameter) const {
  const auto per_fan_in = [](std::int64_t fan_in) { return kUnit / std::sqrt(static_cast<float>(fan_in)); };
  constexpr float kBias = 0.1f;
  const float by_shared_ffn = per_fan_in(is_of_shared_ ? shape_.ffn : shape_.ffn * shape_.shared_experts);
  switch (is_of_shared_ ? of_shared(parameter) : parameter) {
    case Parameter::gate:
      return {key_of(seed_, RandomField::gate), per_fan_in(shape_.hidden)};
    case Parameter::w1:
      return {key_of(seed_, RandomField::w1), per_fan_in(shape_.hidden)};
    case Parameter::b1:
      return {key_of(seed_, RandomField::b1), kBias};
    case Parameter::w2:
      return {key_of(seed_, RandomField::w2), per_fan_in(shape_.ffn)};
    case Parameter::b2:
      return {key_of(seed_, RandomField::b2), kBias};
    case Parameter::shared_w1:
      return {key_of(seed_, RandomField::shared_w1), per_fan_in(shape_.hidden)};
    case Parameter::shared_b1:
      return {key_of(seed_, RandomField::shared_b1), kBias};
    case Parameter::shared_w2:
      return {key_of(seed_, RandomField::shared_w2), by_shared_ffn};
    case Parameter::shared_b2:
      return {key_of(seed_, RandomField::shared_b2), kBias};
  }
  MB_ASSERT(false);
}

std::vector<std::int64_t> Workload::target_experts(int step, std::int64_t token) const {
  if (!draw_) return {};
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(choices_));
  draw_->choose(steps_ > 0 ? step % steps_ : step, token, chosen);
  return chosen;
}

}  // namespace moebench
