// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/expert_ffn.h"

#include <algorithm>

#include "backends/cpu/activation.h"
#include "backends/cpu/vectorised.h"

namespace moebench::cpu {
namespace {

Matrix matrix_of(const TensorView& stack, std::int64_t index, std::int64_t rows, std::int64_t cols) {
  return {stack.as<float>() + index * rows * cols, rows, cols};
}

MB_VECTORISED void gelu_row(std::int64_t n, const float* in, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = gelu(in[i]);
}

MB_VECTORISED void swiglu_row(std::int64_t n, const float* in, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = silu(in[i]) * in[n + i];
}

MB_VECTORISED void gelu_backward_row(std::int64_t n, const float* pre, const float* dact, float* dpre) {
  for (std::int64_t i = 0; i < n; ++i) dpre[i] = dact[i] * gelu_slope(pre[i]);
}

MB_VECTORISED void swiglu_backward_row(std::int64_t n, const float* pre, const float* dact, float* dpre) {
  for (std::int64_t i = 0; i < n; ++i) {
    dpre[i] = dact[i] * pre[n + i] * silu_slope(pre[i]);
    dpre[n + i] = dact[i] * silu(pre[i]);
  }
}

MB_VECTORISED void add_row(std::int64_t n, const float* from, float* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += from[i];
}

void add_to_rows(const RowBlock& block, const TensorView& bias, float* rows, std::int64_t cols) {
  if (!bias.data) return;
  for (std::int64_t r = 0; r < block.count; ++r)
    add_row(cols, bias.as<float>() + block.expert * cols, rows + r * cols);
}

/// sums [n] = the sum of `count` rows that lie `stride` apart, or that added to what is there.
void sum_rows(std::int64_t count, const float* rows, std::int64_t stride, std::int64_t n, float* sums,
              bool accumulate) {
  if (!accumulate) std::fill_n(sums, n, 0.0f);
  for (std::int64_t r = 0; r < count; ++r) add_row(n, rows + r * stride, sums);
}

}  // namespace

ExpertFfn::ExpertFfn(Memory& memory, const EngineShape& shape)
    : shape_(shape), pre_(memory, 0), act_(memory, 0), dpre_(memory, 0), dact_(memory, 0) {}

void ExpertFfn::reserve(std::int64_t rows) {
  const auto bytes = [&](std::int64_t cols) { return static_cast<std::size_t>(rows * cols) * sizeof(float); };
  pre_.reserve(bytes(shape_.w1_cols()));
  act_.reserve(bytes(shape_.ffn));
  if (!shape_.backward) return;
  dpre_.reserve(bytes(shape_.w1_cols()));
  dact_.reserve(bytes(shape_.ffn));
}

void ExpertFfn::forward(const RowBlock& block, const ExpertTensors& weights, const float* x, float* out) {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols(), f = shape_.ffn;
  float* pre = pre_.as<float>() + block.first * w1;
  float* act = act_.as<float>() + block.first * f;
  float* out_rows = out + block.first * h;
  gemm_here({x + block.first * h, block.count, h}, matrix_of(weights.w1, block.expert, h, w1), pre, w1);
  add_to_rows(block, weights.b1, pre, w1);
  activate_rows(shape_.activation, block.count, f, pre, act);
  gemm_here({act, block.count, f}, matrix_of(weights.w2, block.expert, f, h), out_rows, h);
  add_to_rows(block, weights.b2, out_rows, h);
}

void ExpertFfn::backward(const RowBlock& block, const ExpertTensors& weights, const float* dout, float* dx) {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols(), f = shape_.ffn, n = block.count;
  const float* pre = pre_.as<float>() + block.first * w1;
  float* dact = dact_.as<float>() + block.first * f;
  float* dpre = dpre_.as<float>() + block.first * w1;
  gemm_here({dout + block.first * h, n, h}, transposed(matrix_of(weights.w2, block.expert, f, h)), dact, f);
  const auto row = shape_.activation == Activation::gelu ? gelu_backward_row : swiglu_backward_row;
  for (std::int64_t r = 0; r < n; ++r) row(f, pre + r * w1, dact + r * f, dpre + r * w1);
  gemm_here({dpre, n, w1}, transposed(matrix_of(weights.w1, block.expert, h, w1)), dx + block.first * h, h);
}

void ExpertFfn::weight_gradients(const RowBlock& block, std::int64_t begin, std::int64_t end, const float* x,
                                 const float* dout, const ExpertTensors& gradients, bool accumulate) const {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols(), f = shape_.ffn, n = block.count,
                     units = end - begin;
  const float* dout_rows = dout + block.first * h;
  const Matrix act(act_.as<float>() + block.first * f + begin, n, units, f);
  gemm_here(transposed(act), {dout_rows, n, h}, gradients.w2.as<float>() + (block.expert * f + begin) * h, h,
            accumulate);
  for (std::int64_t column = begin; column < w1; column += f) {  // gate, then up
    const Matrix dpre(dpre_.as<float>() + block.first * w1 + column, n, units, w1);
    gemm_here(transposed({x + block.first * h, n, h}), dpre,
              gradients.w1.as<float>() + block.expert * h * w1 + column, w1, accumulate);
    if (gradients.b1.data)
      sum_rows(n, dpre.data, w1, units, gradients.b1.as<float>() + block.expert * w1 + column, accumulate);
  }
  if (gradients.b2.data && begin == 0)
    sum_rows(n, dout_rows, h, h, gradients.b2.as<float>() + block.expert * h, accumulate);
}

void activate_rows(Activation activation, std::int64_t rows, std::int64_t ffn, const float* pre, float* out) {
  const auto row = activation == Activation::gelu ? gelu_row : swiglu_row;
  const std::int64_t w1 = activation == Activation::swiglu ? 2 * ffn : ffn;
  for (std::int64_t r = 0; r < rows; ++r) row(ffn, pre + r * w1, out + r * ffn);
}

}  // namespace moebench::cpu
