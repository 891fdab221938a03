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

constexpr std::int64_t kRowGrain = 4;  // rows per share at least: below that the hand-over costs more

}  // namespace

ExpertFfn::ExpertFfn(ThreadPool& pool, Memory& memory, const EngineShape& shape)
    : pool_(pool), shape_(shape), pre_(memory, 0), act_(memory, 0), dpre_(memory, 0), dact_(memory, 0) {}

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
  gemm(pool_, {x + block.first * h, block.count, h}, matrix_of(weights.w1, block.expert, h, w1), pre);
  add_bias(block, weights.b1, pre, w1);
  activate(block);
  gemm(pool_, {act, block.count, f}, matrix_of(weights.w2, block.expert, f, h), out + block.first * h);
  add_bias(block, weights.b2, out + block.first * h, h);
}

void ExpertFfn::backward(const RowBlock& block, const ExpertTensors& weights, const float* x, const float* dout,
                         float* dx, const ExpertTensors& gradients) {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols(), f = shape_.ffn, n = block.count;
  const Matrix x_rows{x + block.first * h, n, h}, dout_rows{dout + block.first * h, n, h};
  const Matrix act{act_.as<float>() + block.first * f, n, f};
  float* dact = dact_.as<float>() + block.first * f;
  float* dpre = dpre_.as<float>() + block.first * w1;
  gemm(pool_, dout_rows, transposed(matrix_of(weights.w2, block.expert, f, h)), dact);
  activate_backward(block);
  gemm(pool_, {dpre, n, w1}, transposed(matrix_of(weights.w1, block.expert, h, w1)), dx + block.first * h);
  gemm(pool_, transposed(act), dout_rows, gradients.w2.as<float>() + block.expert * f * h, true);
  gemm(pool_, transposed(x_rows), {dpre, n, w1}, gradients.w1.as<float>() + block.expert * h * w1, true);
  add_column_sums(block, dout_rows.data, h, gradients.b2);
  add_column_sums(block, dpre, w1, gradients.b1);
}

void ExpertFfn::clear(const ExpertTensors& gradients) {
  for (const TensorView& view : {gradients.w1, gradients.b1, gradients.w2, gradients.b2}) {
    if (!view.data) continue;
    pool_.parallel_for(view.size(), 4096, [&](std::int64_t begin, std::int64_t end) {
      std::fill(view.as<float>() + begin, view.as<float>() + end, 0.0f);
    });
  }
}

void ExpertFfn::add_bias(const RowBlock& block, const TensorView& bias, float* rows, std::int64_t cols) {
  if (!bias.data) return;
  const float* values = bias.as<float>() + block.expert * cols;
  pool_.parallel_for(block.count, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) add_row(cols, values, rows + r * cols);
  });
}

void ExpertFfn::add_column_sums(const RowBlock& block, const float* rows, std::int64_t cols, const TensorView& bias) {
  if (!bias.data) return;
  float* sums = bias.as<float>() + block.expert * cols;
  pool_.parallel_for(cols, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = 0; r < block.count; ++r) add_row(end - begin, rows + r * cols + begin, sums + begin);
  });
}

void ExpertFfn::activate(const RowBlock& block) {
  activate_rows(pool_, shape_.activation, block.count, shape_.ffn, pre_.as<float>() + block.first * shape_.w1_cols(),
                act_.as<float>() + block.first * shape_.ffn);
}

void ExpertFfn::activate_backward(const RowBlock& block) {
  const auto row = shape_.activation == Activation::gelu ? gelu_backward_row : swiglu_backward_row;
  const std::int64_t w1 = shape_.w1_cols(), f = shape_.ffn;
  pool_.parallel_for(block.count, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = block.first + begin; r < block.first + end; ++r)
      row(f, pre_.as<float>() + r * w1, dact_.as<float>() + r * f, dpre_.as<float>() + r * w1);
  });
}

void activate_rows(ThreadPool& pool, Activation activation, std::int64_t rows, std::int64_t ffn, const float* pre,
                   float* out) {
  const auto row = activation == Activation::gelu ? gelu_row : swiglu_row;
  const std::int64_t w1 = activation == Activation::swiglu ? 2 * ffn : ffn;
  pool.parallel_for(rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) row(ffn, pre + r * w1, out + r * ffn);
  });
}

}  // namespace moebench::cpu
