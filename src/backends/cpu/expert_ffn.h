// SPDX-License-Identifier: Apache-2.0
// The feed-forward network of one expert on rows that lie side by side: what every CPU engine runs, on one thread.
// Engines decide which rows, or which hidden units, go to which thread.
#pragma once

#include <cstdint>

#include "backends/cpu/blas.h"
#include "backends/engine.h"

namespace moebench::cpu {

/// Rows [first, first + count) of an engine's row buffers, all of one expert.
struct RowBlock {
  std::int64_t expert, first, count;
};

/// out = act(x·W1 + b1)·W2 + b2, and what its backward needs, kept by row.
class ExpertFfn {
 public:
  ExpertFfn(Memory& memory, const EngineShape& shape);

  void reserve(std::int64_t rows);
  /// x, out [rows, H] are whole row buffers: the block says which rows.
  void forward(const RowBlock& block, const ExpertTensors& weights, const float* x, float* out);
  /// dout, dx like x, out. Keeps the gradient of the pre-activation.
  void backward(const RowBlock& block, const ExpertTensors& weights, const float* dout, float* dx);
  /// Gradients that belong to hidden units [begin, end) of the block's expert, over the block's rows: columns of W1 (and
  /// b1), rows of W2; and b2's with unit 0. After backward() of these rows. Overwritten, or added to; an empty block's
  /// gradients are zero.
  void weight_gradients(const RowBlock& block, std::int64_t begin, std::int64_t end, const float* x,
                        const float* dout, const ExpertTensors& gradients, bool accumulate = false) const;

 private:
  EngineShape shape_;
  Buffer pre_, act_, dpre_, dact_;  ///< [rows, W1], [rows, F], [rows, W1], [rows, F] fp32
};

/// out [rows, F] of pre [rows, F or 2F], on this thread.
void activate_rows(Activation activation, std::int64_t rows, std::int64_t ffn, const float* pre, float* out);

}  // namespace moebench::cpu
