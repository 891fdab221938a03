// SPDX-License-Identifier: Apache-2.0
// Rows in token order, gathered by the permutation. TMA takes 60 cycles for each row of 128 bytes, so the
// producer's lanes copy them (cp.async), 16 bytes each, eight lanes a row, to where TMA would have put them.
#pragma once

#include "backends/cuda/grouped/tile_scheduler.cuh"
#include "backends/cuda/ptx/ampere.cuh"

namespace moebench::cuda::grouped {

/// Called by all lanes of one warp together.
template <class Config>
class RowGather {
  static constexpr int kSteps = Config::kTokens / 4;  ///< each copies four rows

 public:
  __device__ explicit RowGather(const KernelParams& params) : params_(params) {}

  /// Reads slot_of for the rows of a tile: row r of the expert is token slot_of[r] / top_k.
  __device__ void begin(const Tile& w) {
    const unsigned units = static_cast<unsigned>(params_.token_cols) / 8,
                   top_k = static_cast<unsigned>(params_.top_k);
    unsigned begins[kSteps / 8];  // of rows lane, 32 + lane, …
#pragma unroll
    for (int i = 0; i < kSteps / 8; ++i) {
      const int row = 32 * i + lane_of_warp();
      begins[i] =
          row < w.n_count ? static_cast<unsigned>(params_.slot_of[w.row + w.n + row]) / top_k * units : 0;
    }
#pragma unroll
    for (int i = 0; i < kSteps; ++i)
      begins_[i] = __shfl_sync(0xFFFFFFFFu, begins[i / 8], 4 * i % 32 + lane_of_warp() / 8);
  }

  /// Copies k-block `block` of them; columns outside of the matrix become zero. This lane arrives at `full` when
  /// its copies are done.
  __device__ void load(const Tile& w, int block, std::uint32_t to, std::uint32_t full) const {
    const int lane = lane_of_warp(), unit = lane % 8, in_step = lane / 8, col = block * kTileK + 8 * unit;
    const uint4* const from = static_cast<const uint4*>(params_.by_token) + col / 8;
    const int bytes = col < params_.token_cols ? 16 : 0;
    const std::uint32_t row = to + in_step * kRowBytes, even = row + ((unit ^ in_step) << 4),
                        odd = row + ((unit ^ (in_step + 4)) << 4);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      if (i % (kTileNStep / 4) == 0 && 4 * i >= w.n_count) break;
      cp_async((i % 2 ? odd : even) + i * 4 * kRowBytes, from + begins_[i], bytes);
    }
    mbarrier_arrive_after_cp_async(full);
  }

 private:
  const KernelParams& params_;
  unsigned begins_[kSteps];  ///< of rows lane / 8, 4 + lane / 8, …, in units of 16 bytes
};

}  // namespace moebench::cuda::grouped
