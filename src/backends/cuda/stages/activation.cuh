// SPDX-License-Identifier: Apache-2.0
// The activations and their derivatives, element by element, for every kernel that applies one.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "moe/shape.h"

namespace moebench::cuda {

/// GELU x·Φ(x), its slope Φ(x) + x·φ(x), and the logistic σ(x), as accurate as storage in T deserves.
template <class T>
struct Functions;

template <>
struct Functions<float> {
  static __device__ float normal_cdf(float x) { return 0.5f + 0.5f * erff(x * 0.70710678f); }
  static __device__ float gelu(float x) { return x * normal_cdf(x); }
  static __device__ float gelu_slope(float x) {
    return normal_cdf(x) + x * 0.39894228f * expf(-0.5f * x * x);
  }
  static __device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
};

/// For 16-bit formats: errors far below their rounding.
struct HalfActivation {
  static __device__ float bell(float x) { return __expf(-0.5f * x * x); }
  /// Abramowitz & Stegun 7.1.26 at |x|/√2: absolute error below 1.5e-7, of which half reaches Φ.
  static __device__ float normal_cdf(float x) {
    const float t = __fdividef(1.0f, 1.0f + 0.23164190f * fabsf(x));  // 0.3275911 / √2
    const float p =
        ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    const float tail = 0.5f * p * bell(x);
    return x < 0 ? tail : 1.0f - tail;
  }
  static __device__ float gelu(float x) { return x * normal_cdf(x); }
  static __device__ float gelu_slope(float x) { return normal_cdf(x) + x * 0.39894228f * bell(x); }
  /// __fdividef gives 0 for a divisor beyond 2^126: right to 1e-38.
  static __device__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
};
template <>
struct Functions<__nv_bfloat16> : HalfActivation {};
template <>
struct Functions<__half> : HalfActivation {};

/// For bf16 in the epilogue of a GEMM, where the number of instructions is the cost: one for the transcendental part,
/// tanh. Its relative error of 2^-11 makes results wrong by up to 2.5e-4·|x|: far under bf16's rounding (2^-9) of
/// results near x, more than that where they nearly vanish.
struct ApproxActivation {
  static __device__ float tanh(float x) {
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
  // Φ(x) = ½ + ½·tanh(x·p(x²)), p fitted so that x·Φ(x) is off by less than 2.6e-5 everywhere; p is kept constant
  // beyond |x| = 5.5, where the tanh is 1.
  static constexpr float kP0 = 0.797507884f, kP1 = 0.0370056461f, kP2 = -3.51516815e-4f, kMax = 30.0f;
  static __device__ float gelu(float x) {
    const float z = fminf(x * x, kMax), half = 0.5f * x;
    return half + half * tanh(x * (kP0 + z * (kP1 + z * kP2)));
  }
  static __device__ float gelu_slope(float x) {
    const float z = fminf(x * x, kMax), t = tanh(x * (kP0 + z * (kP1 + z * kP2)));
    return 0.5f + 0.5f * t + 0.5f * x * (1.0f - t * t) * (kP0 + z * (3 * kP1 + z * (5 * kP2)));
  }
  static __device__ float sigmoid(float x) { return 0.5f + 0.5f * tanh(0.5f * x); }
};

/// What one element of `act` comes from: pre alone, or gate and up.
template <class F, Activation kActivation>
struct Act {
  static constexpr int kInputs = kActivation == Activation::swiglu ? 2 : 1;

  static __device__ float forward(const float* in) {
    if constexpr (kInputs == 1)
      return F::gelu(in[0]);
    else
      return in[0] * F::sigmoid(in[0]) * in[1];
  }
  /// GELU: Φ(x) + x·φ(x). SiLU: σ·(1 + x·(1 - σ)).
  static __device__ void backward(float dact, const float* in, float* din) {
    if constexpr (kInputs == 1) {
      din[0] = dact * F::gelu_slope(in[0]);
    } else {
      const float s = F::sigmoid(in[0]);
      din[0] = dact * in[1] * s * (1.0f + in[0] * (1.0f - s));
      din[1] = dact * in[0] * s;
    }
  }
  /// dact · act, after backward().
  static __device__ float product(float dact, const float* in, const float* din) {
    if constexpr (kInputs == 1)
      return dact * F::gelu(in[0]);
    else
      return din[1] * in[1];
  }
};

}  // namespace moebench::cuda
