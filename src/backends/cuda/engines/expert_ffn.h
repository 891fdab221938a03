// SPDX-License-Identifier: Apache-2.0
// The feed-forward networks of some experts on rows that lie side by side: what every engine here runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/cuda/gemm/expert_gemm_runner.h"
#include "backends/cuda/runtime/gpu.h"
#include "backends/engine.h"

namespace moebench::cuda {

/// Rows [first, first + count) of an engine's row buffers, all of one expert.
struct RowBlock {
  std::int64_t expert, first, count;
};

/// Consecutive blocks of consecutive experts, empty ones among them.
struct Blocks {
  std::span<const RowBlock> blocks;
  const std::int32_t* offsets;  ///< in device memory: block i is rows [offsets[i], offsets[i + 1])

  std::int64_t expert() const { return blocks.front().expert; }
  std::int64_t first() const { return blocks.front().first; }
  std::int64_t rows() const { return blocks.back().first + blocks.back().count - first(); }
};

/// Blocks of the experts 0, 1, … whose rows begin at `offsets` [e + 1].
std::vector<RowBlock> blocks_of(std::span<const std::int64_t> offsets);
std::vector<RowBlock> blocks_of(std::span<const std::int32_t> offsets);

/// Applies out = act(x·W1 + b1)·W2 + b2, and keeps what the backward needs, by row.
class ExpertFfn {
 public:
  ExpertFfn(Gpu& gpu, const EngineShape& shape);

  void reserve(std::int64_t rows);
  /// x, out [rows, H] are whole row buffers: the blocks say which rows.
  void forward(const Blocks& blocks, const ExpertTensors& weights, const void* x, void* out,
               ExpertGemmRunner& runner);
  /// dout, dx like x, out. Overwrites the gradients of the blocks' experts, or with `accumulate` adds to
  /// them; they are of the shape's dtype or of fp32.
  void backward(const Blocks& blocks, const ExpertTensors& weights, const void* x, const void* dout, void* dx,
                const ExpertTensors& gradients, bool accumulate, ExpertGemmRunner& runner);

 private:
  Matrix rows_of(const void* buffer, const RowBlock& block, std::int64_t cols) const;
  TensorView view(void* buffer, const Blocks& blocks, std::int64_t cols) const;
  void clear_experts_without_rows(const Blocks& blocks, const TensorView& gradient);

  Gpu& gpu_;
  EngineShape shape_;
  Buffer pre_, act_, dpre_, dact_;  ///< [rows, W1], [rows, F], [rows, W1], [rows, F]
  std::vector<GemmArgs> products_;  ///< those of the moment, kept for its capacity
};

}  // namespace moebench::cuda
