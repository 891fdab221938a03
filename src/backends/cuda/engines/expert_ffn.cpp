// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/engines/expert_ffn.h"

#include "backends/cuda/stages/kernels.h"

namespace moebench::cuda {
namespace {

std::byte* row_at(const void* buffer, std::int64_t row, std::int64_t cols, DType dtype) {
  auto* bytes = static_cast<std::byte*>(const_cast<void*>(buffer));
  return bytes + static_cast<std::size_t>(row * cols) * size_of(dtype);
}

/// Matrix `index` of a stack of matrices [rows, cols].
Matrix matrix_of(const TensorView& stack, std::int64_t index, std::int64_t rows) {
  return {stack.slice(index * rows, rows).data, rows, stack.cols};
}

template <class Offset>
std::vector<RowBlock> blocks_from(std::span<const Offset> offsets) {
  std::vector<RowBlock> blocks;
  for (std::size_t e = 0; e + 1 < offsets.size(); ++e)
    blocks.push_back({static_cast<std::int64_t>(e), offsets[e], offsets[e + 1] - offsets[e]});
  return blocks;
}

}  // namespace

std::vector<RowBlock> blocks_of(std::span<const std::int64_t> offsets) { return blocks_from(offsets); }
std::vector<RowBlock> blocks_of(std::span<const std::int32_t> offsets) { return blocks_from(offsets); }

ExpertFfn::ExpertFfn(Gpu& gpu, const EngineShape& shape)
    : gpu_(gpu),
      shape_(shape),
      pre_(gpu.memory, 0),
      act_(gpu.memory, 0),
      dpre_(gpu.memory, 0),
      dact_(gpu.memory, 0) {}

void ExpertFfn::reserve(std::int64_t rows) {
  const auto bytes = [&](std::int64_t cols) {
    return static_cast<std::size_t>(rows * cols) * size_of(shape_.dtype);
  };
  pre_.reserve(bytes(shape_.w1_cols()));
  act_.reserve(bytes(shape_.ffn));
  if (!shape_.backward) return;
  dpre_.reserve(bytes(shape_.w1_cols()));
  dact_.reserve(bytes(shape_.ffn));
}

void ExpertFfn::forward(const Blocks& blocks, const ExpertTensors& weights, const void* x, void* out,
                        ExpertGemmRunner& runner) {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols(), f = shape_.ffn, rows = blocks.rows();
  const DType dtype = shape_.dtype;
  const cudaStream_t stream = gpu_.stream.get();
  const auto add_bias_of = [&](const TensorView& bias, void* buffer, std::int64_t cols) {
    if (bias.data)
      add_bias(stream, blocks.offsets, rows, bias.slice(blocks.expert(), std::ssize(blocks.blocks)),
               {buffer, dtype, rows, cols});
  };
  products_.clear();
  for (const RowBlock& b : blocks.blocks)
    if (b.count > 0)
      products_.push_back({rows_of(x, b, h), matrix_of(weights.w1, b.expert, h), dtype,
                           row_at(pre_.data(), b.first, w1, dtype), dtype, false, b.expert});
  runner.run(products_);
  add_bias_of(weights.b1, pre_.data(), w1);
  activate(stream, shape_.activation, view(pre_.data(), blocks, w1), view(act_.data(), blocks, f));
  products_.clear();
  for (const RowBlock& b : blocks.blocks)
    if (b.count > 0)
      products_.push_back({rows_of(act_.data(), b, f), matrix_of(weights.w2, b.expert, f), dtype,
                           row_at(out, b.first, h, dtype), dtype, false, b.expert});
  runner.run(products_);
  add_bias_of(weights.b2, out, h);
}

void ExpertFfn::backward(const Blocks& blocks, const ExpertTensors& weights, const void* x, const void* dout,
                         void* dx, const ExpertTensors& gradients, bool accumulate,
                         ExpertGemmRunner& runner) {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols(), f = shape_.ffn;
  const DType dtype = shape_.dtype;
  const cudaStream_t stream = gpu_.stream.get();
  products_.clear();
  for (const RowBlock& b : blocks.blocks)
    if (b.count > 0)
      products_.push_back({rows_of(dout, b, h), transposed(matrix_of(weights.w2, b.expert, f)), dtype,
                           row_at(dact_.data(), b.first, f, dtype), dtype, false, b.expert});
  runner.run(products_);
  activate_backward(stream, shape_.activation, view(pre_.data(), blocks, w1), view(dact_.data(), blocks, f),
                    view(dpre_.data(), blocks, w1));
  products_.clear();
  for (const RowBlock& b : blocks.blocks) {
    if (b.count == 0) continue;
    const Matrix dpre = rows_of(dpre_.data(), b, w1);
    products_.push_back({dpre, transposed(matrix_of(weights.w1, b.expert, h)), dtype,
                         row_at(dx, b.first, h, dtype), dtype, false, b.expert});
    products_.push_back({transposed(rows_of(act_.data(), b, f)), rows_of(dout, b, h), dtype,
                         gradients.w2.slice(b.expert * f, f).data, gradients.w2.dtype, accumulate, b.expert});
    products_.push_back({transposed(rows_of(x, b, h)), dpre, dtype, gradients.w1.slice(b.expert * h, h).data,
                         gradients.w1.dtype, accumulate, b.expert});
  }
  runner.run(products_);
  const auto sum_into = [&](const TensorView& bias, const void* buffer, std::int64_t cols) {
    if (bias.data)
      sum_columns(stream, blocks.offsets, {const_cast<void*>(buffer), dtype, blocks.rows(), cols},
                  bias.slice(blocks.expert(), std::ssize(blocks.blocks)), accumulate);
  };
  sum_into(gradients.b2, dout, h);
  sum_into(gradients.b1, dpre_.data(), w1);
  if (accumulate) return;
  clear_experts_without_rows(blocks, gradients.w1);
  clear_experts_without_rows(blocks, gradients.w2);
}

/// One memset for each run of neighbours without rows.
void ExpertFfn::clear_experts_without_rows(const Blocks& blocks, const TensorView& gradient) {
  const std::int64_t rows = gradient.rows / shape_.experts, count = std::ssize(blocks.blocks);
  const auto is_empty = [&](std::int64_t i) { return blocks.blocks[static_cast<std::size_t>(i)].count == 0; };
  for (std::int64_t i = 0; i < count; ++i) {
    if (!is_empty(i)) continue;
    const std::int64_t begin = i;
    while (i + 1 < count && is_empty(i + 1)) ++i;
    const TensorView part = gradient.slice((blocks.expert() + begin) * rows, (i + 1 - begin) * rows);
    MB_CUDA(cudaMemsetAsync(part.data, 0, part.bytes(), gpu_.stream.get()));
  }
}

Matrix ExpertFfn::rows_of(const void* buffer, const RowBlock& block, std::int64_t cols) const {
  return {row_at(buffer, block.first, cols, shape_.dtype), block.count, cols};
}

TensorView ExpertFfn::view(void* buffer, const Blocks& blocks, std::int64_t cols) const {
  return {row_at(buffer, blocks.first(), cols, shape_.dtype), shape_.dtype, blocks.rows(), cols};
}

}  // namespace moebench::cuda
