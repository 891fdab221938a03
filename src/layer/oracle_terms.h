// SPDX-License-Identifier: Apache-2.0
// One hidden unit in double precision, and the sizes of the numbers that rounding acts on. Only for oracle.cpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "base/dtype.h"
#include "moe/shape.h"

namespace moebench::oracle {

inline double cdf(double x) { return 0.5 * std::erfc(-x * std::numbers::sqrt2 / 2); }
inline double gelu(double x) { return x * cdf(x); }
inline double gelu_slope(double x) {
  return cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
}
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double silu(double x) { return x * sigmoid(x); }
inline double silu_slope(double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }

inline double dot(std::int64_t n, const double* a, const double* b) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

inline void add_scaled(std::int64_t n, double scale, const double* from, double* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

/// act of one hidden unit, from its gate and, for SwiGLU, its up value.
inline double act(Activation activation, double gate, double up) {
  return activation == Activation::gelu ? gelu(gate) : silu(gate) * up;
}
inline double dgate_of(Activation activation, double gate, double up, double dact) {
  return dact * (activation == Activation::gelu ? gelu_slope(gate) : silu_slope(gate) * up);
}
inline double dup_of(double gate, double dact) { return dact * silu(gate); }

/// A number that is the sum of products, and about the norm of these: what it errs beside.
struct Sum {
  double value = 0, terms = 0;
  double size() const { return std::hypot(value, terms); }
};

/// Sizes of act and of its gradients as far as rounding goes. An activation is x·Φ(x) with Φ of about 1, and its
/// slope is of about 1: act errs beside x however small Φ(x) is, and a gradient beside dact times what else is
/// multiplied.
struct Sizes {
  double act, dpre[2];
};
inline Sizes sizes_of(Activation activation, const Sum (&pre)[2], const Sum& dact) {
  const double gate = pre[0].size(), slope = dact.size() * std::hypot(1, pre[0].terms);
  if (activation == Activation::gelu) return {gate, {slope, 0}};
  return {gate * pre[1].size(), {slope * pre[1].size(), dact.size() * gate}};
}

/// A product of operands as they are stored is summed in fp32: how much less that errs than a value that was rounded to
/// `dtype`. In tf32 not at all: operands are stored in fp32, and rounded when they are multiplied.
inline double exact_operands(DType dtype) {
  return format_info(DType::fp32).unit_roundoff / format_info(dtype).unit_roundoff;
}

inline double squared(double x) { return x * x; }

}  // namespace moebench::oracle
