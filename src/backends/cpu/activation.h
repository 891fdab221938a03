// SPDX-License-Identifier: Apache-2.0
// GELU, SiLU and their derivatives in fp32, written so that the compiler can vectorise them.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace moebench::cpu {

/// e^x to 2 ulp for x in [-87, 88], clamped outside. 2^n by the exponent bits, 2^f by a polynomial
/// (degree 5, minimax on [-0.5, 0.5]; Cephes expf, S. Moshier).
inline float exp_fast(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  const float n = std::nearbyint(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
}

/// The normal distribution function Φ(x) given φ0 = e^(-x²/2); absolute error below 1.5e-7
/// (Abramowitz & Stegun 7.1.26, at |x|/√2).
inline float normal_cdf(float x, float phi0) {
  const float z = std::fabs(x) * 0.70710678f;
  const float t = 1.0f / (1.0f + 0.3275911f * z);
  const float p =
      ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
  const float tail = 0.5f * p * phi0;
  return x < 0 ? tail : 1.0f - tail;
}

/// x·Φ(x): the exact GELU (Hendrycks & Gimpel 2016), not its tanh approximation.
inline float gelu(float x) { return x * normal_cdf(x, exp_fast(-0.5f * x * x)); }

/// Φ(x) + x·φ(x).
inline float gelu_slope(float x) {
  const float phi0 = exp_fast(-0.5f * x * x);
  return normal_cdf(x, phi0) + x * 0.39894228f * phi0;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exp_fast(-x)); }
/// x·σ(x).
inline float silu(float x) { return x * sigmoid(x); }
/// σ(x)·(1 + x·(1 - σ(x))).
inline float silu_slope(float x) {
  const float s = sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}

}  // namespace moebench::cpu
