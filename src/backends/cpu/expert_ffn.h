// SPDX-License-Identifier: Apache-2.0
// The feed-forward network of one expert on rows that lie side by side: what every CPU engine runs.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/cpu/blas.h"
#include "backends/engine.h"

namespace moebench::cpu {

/// Rows [first, first + count) of an engine's row buffers, all of one expert.
struct RowBlock {
  std::int64_t expert, first, count;
};

/// Applies out = act(x·W1 + b1)·W2 + b2 block by block, and keeps what the backward needs, by row.
class ExpertFfn {
 public:
  ExpertFfn(ThreadPool& pool, Memory& memory, const EngineShape& shape);

  void reserve(std::int64_t rows);
  /// x, out [rows, H] are whole row buffers: the block says which rows.
  void forward(const RowBlock& block, const ExpertTensors& weights, const float* x, float* out);
  /// dout, dx like x, out. Adds to the gradients of the block's expert.
  void backward(const RowBlock& block, const ExpertTensors& weights, const float* x, const float* dout,
                float* dx, const ExpertTensors& gradients);
  /// Zeroes all gradients, before the blocks of a backward pass add to them.
  void clear(const ExpertTensors& gradients);

 private:
  void add_bias(const RowBlock& block, const TensorView& bias, float* rows, std::int64_t cols);
  void add_column_sums(const RowBlock& block, const float* rows, std::int64_t cols, const TensorView& bias);
  void activate(const RowBlock& block);
  void activate_backward(const RowBlock& block);

  ThreadPool& pool_;
  EngineShape shape_;
  Buffer pre_, act_, dpre_, dact_;  ///< [rows, W1], [rows, F], [rows, W1], [rows, F] fp32
};

/// out [rows, F] of pre [rows, F or 2F].
void activate_rows(ThreadPool& pool, Activation activation, std::int64_t rows, std::int64_t ffn, const float* pre,
                   float* out);

}  // namespace moebench::cpu
