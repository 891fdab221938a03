// SPDX-License-Identifier: Apache-2.0
#include "moe/workload.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr Words<Skew::Kind, 5> kKinds{{{
    {Skew::Kind::random, "random"},
    {Skew::Kind::balanced, "balanced"},
    {Skew::Kind::zipf, "zipf"},
    {Skew::Kind::hot, "hot"},
    {Skew::Kind::one, "one"},
}}};

/// Which tensor a key is for; part of the seed's meaning, so the numbers never change.
enum class Field : std::uint64_t { input = 1, output_gradient, skew, gate, w1, b1, w2, b2 };

std::uint64_t key_of(std::uint64_t seed, Field field, int step = 0) {
  return mix(mix(seed, static_cast<std::uint64_t>(field)), static_cast<std::uint64_t>(step));
}

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

std::vector<double> zipf_cumulative(std::int64_t experts, double exponent) {
  std::vector<double> cumulative(experts);
  double sum = 0;
  for (std::int64_t i = 0; i < experts; ++i) {
    sum += std::pow(static_cast<double>(i + 1), -exponent);
    cumulative[i] = sum;
  }
  for (double& value : cumulative) value /= sum;
  return cumulative;
}

bool contains(const std::vector<std::int64_t>& values, std::int64_t value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

/// Uniform in [0, 1).
double fraction(std::uint64_t key, std::uint64_t index) {
  return static_cast<double>(mix(key, index) >> 11) * 0x1p-53;
}

/// K distinct experts by the weights under `cumulative`: draws, and draws again on a repeat.
std::vector<std::int64_t> draw_distinct(const std::vector<double>& cumulative, std::int64_t k,
                                        std::uint64_t key) {
  const auto experts = static_cast<std::int64_t>(cumulative.size());
  std::vector<std::int64_t> chosen;
  constexpr std::uint64_t kDraws = 256;  // then the likeliest that are left: K near E with a steep skew
  for (std::uint64_t draw = 0; draw < kDraws && std::ssize(chosen) < k; ++draw) {
    const auto at = std::upper_bound(cumulative.begin(), cumulative.end(), fraction(key, draw));
    const std::int64_t expert = std::min<std::int64_t>(at - cumulative.begin(), experts - 1);
    if (!contains(chosen, expert)) chosen.push_back(expert);
  }
  for (std::int64_t expert = 0; std::ssize(chosen) < k; ++expert)
    if (!contains(chosen, expert)) chosen.push_back(expert);
  return chosen;
}

}  // namespace

Skew parse_skew(std::string_view word) {
  const auto parts = split(word, ':');
  const Skew::Kind kind = kKinds.parse("routing", parts[0]);
  const bool takes_number = kind == Skew::Kind::zipf || kind == Skew::Kind::hot;
  const auto number = parts.size() == 2 ? to_double(parts[1]) : std::nullopt;
  const bool in_range = number && *number >= 0 && (kind == Skew::Kind::zipf ? *number <= 10 : *number <= 1);
  if (parts.size() > 2 || takes_number != (parts.size() == 2) || (takes_number && !in_range))
    throw UsageError(cat("routing '", word, "' is not one of random, balanced, zipf:S (0 <= S <= 10), ",
                         "hot:F (0 <= F <= 1), one"));
  return {kind, number.value_or(0)};
}

std::string name_of(const Skew& skew) {
  const std::string word(kKinds.name(skew.kind));
  const bool takes_number = skew.kind == Skew::Kind::zipf || skew.kind == Skew::Kind::hot;
  return takes_number ? cat(word, ":", skew.parameter) : word;
}

std::string why_not_planted(const Shape& shape, const Skew& skew) {
  if (skew.kind == Skew::Kind::random || shape.experts <= shape.hidden) return {};
  return cat("routing '", name_of(skew), "' needs experts <= hidden, but experts is ", shape.experts,
             " and hidden is ", shape.hidden);
}

Workload::Workload(const Shape& shape, Skew skew, std::uint64_t seed)
    : shape_(shape), skew_(skew), seed_(seed) {
  if (skew.kind == Skew::Kind::random) return;
  if (const std::string why = why_not_planted(shape, skew); !why.empty()) throw UsageError(why);
  planting_ = planting_rows(shape, field(Parameter::gate));
  if (skew.kind == Skew::Kind::zipf) cumulative_ = zipf_cumulative(shape.experts, skew.parameter);
}

void Workload::input(int step, std::int64_t first, std::int64_t tokens, std::span<float> x) const {
  const std::int64_t h = shape_.hidden;
  MB_ASSERT(std::ssize(x) == tokens * h);
  const UniformField noise{key_of(seed_, Field::input, step), kUnit};
  for (std::int64_t i = 0; i < tokens * h; ++i) x[i] = noise.at(first * h + i);
  if (planting_.empty()) return;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (const std::int64_t expert : planted(step, first + t))
      for (std::int64_t i = 0; i < h; ++i) x[t * h + i] += kPlantedLogit * planting_[expert * h + i];
}

void Workload::output_gradient(int step, std::int64_t first, std::int64_t tokens, std::span<float> dy) const {
  MB_ASSERT(std::ssize(dy) == tokens * shape_.hidden);
  const UniformField noise{key_of(seed_, Field::output_gradient, step), kUnit};
  for (std::int64_t i = 0; i < std::ssize(dy); ++i) dy[i] = noise.at(first * shape_.hidden + i);
}

UniformField Workload::field(Parameter parameter) const {
  const auto per_fan_in = [](std::int64_t fan_in) { return kUnit / std::sqrt(static_cast<float>(fan_in)); };
  constexpr float kBias = 0.1f;
  switch (parameter) {
    case Parameter::gate:
      return {key_of(seed_, Field::gate), per_fan_in(shape_.hidden)};
    case Parameter::w1:
      return {key_of(seed_, Field::w1), per_fan_in(shape_.hidden)};
    case Parameter::b1:
      return {key_of(seed_, Field::b1), kBias};
    case Parameter::w2:
      return {key_of(seed_, Field::w2), per_fan_in(shape_.ffn)};
    case Parameter::b2:
      return {key_of(seed_, Field::b2), kBias};
  }
  MB_ASSERT(false);
}

std::vector<std::int64_t> Workload::planted(int step, std::int64_t token) const {
  const std::int64_t k = shape_.top_k, e = shape_.experts;
  const std::uint64_t key = mix(key_of(seed_, Field::skew, step), static_cast<std::uint64_t>(token));
  std::vector<std::int64_t> chosen;
  switch (skew_.kind) {
    case Skew::Kind::random:
      break;
    case Skew::Kind::zipf:
      return draw_distinct(cumulative_, k, key);
    case Skew::Kind::one:
      for (std::int64_t j = 0; j < k; ++j) chosen.push_back(j);
      break;
    case Skew::Kind::hot:
      if (fraction(key, 0) < skew_.parameter) chosen.push_back(0);
      [[fallthrough]];
    case Skew::Kind::balanced:
      for (std::int64_t j = 0; std::ssize(chosen) < k; ++j) {
        const std::int64_t expert = (token * k + j) % e;
        if (!contains(chosen, expert)) chosen.push_back(expert);
      }
  }
  return chosen;
}

}  // namespace moebench
