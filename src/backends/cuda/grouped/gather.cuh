// SPDX-License-Identifier: Apache-2.0
// Rows that lie by token, fetched by the permutation. The copy engine takes 60 cycles for each row of 128
// bytes, so the producer's lanes copy them (cp.async), 16 bytes each, eight lanes a row, to where the copy
// engine would have put them.
#pragma once

#include "backends/cuda/grouped/ampere.cuh"
#include "backends/cuda/grouped/walker.cuh"

namespace moebench::cuda::grouped {

/// By one warp, all lanes together.
template <class K>
class RowFetch {
  static constexpr int kSteps = K::kTokens / 4;  ///< each takes four rows

 public:
  __device__ explicit RowFetch(const Sizes& sizes) : s_(sizes) {}

  /// Finds the rows of a tile.
  __device__ void begin(const Work& w) {
    const unsigned units = static_cast<unsigned>(s_.token_cols) / 8, top_k = static_cast<unsigned>(s_.top_k);
    unsigned begins[kSteps / 8];  // of rows lane, 32 + lane, …
#pragma unroll
    for (int i = 0; i < kSteps / 8; ++i) {
      const int row = 32 * i + lane_of_warp();
      begins[i] =
          row < w.tokens ? static_cast<unsigned>(s_.slot_of[w.row + w.token + row]) / top_k * units : 0;
    }
#pragma unroll
    for (int i = 0; i < kSteps; ++i)
      begins_[i] = __shfl_sync(0xFFFFFFFFu, begins[i / 8], 4 * i % 32 + lane_of_warp() / 8);
  }

  /// Copies inner block `block` of them; what is outside of the matrix is zero. `full` counts this lane's
  /// arrival when its copies are there.
  __device__ void load(const Work& w, int block, std::uint32_t to, std::uint32_t full) const {
    const int lane = lane_of_warp(), unit = lane % 8, in_step = lane / 8, col = block * kTileInner + 8 * unit;
    const uint4* const from = static_cast<const uint4*>(s_.by_token) + col / 8;
    const int bytes = col < s_.token_cols ? 16 : 0;
    const std::uint32_t row = to + in_step * 128, even = row + ((unit ^ in_step) << 4),
                        odd = row + ((unit ^ (in_step + 4)) << 4);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      if (i % (kTokenStep / 4) == 0 && 4 * i >= w.tokens) break;
      copy_async((i % 2 ? odd : even) + i * 512, from + begins_[i], bytes);
    }
    barrier_arrive_after_copies(full);
  }

 private:
  const Sizes& s_;
  unsigned begins_[kSteps];  ///< of rows lane / 8, 4 + lane / 8, …, in units of 16 bytes
};

}  // namespace moebench::cuda::grouped
