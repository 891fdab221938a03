// SPDX-License-Identifier: Apache-2.0
// Accumulator staging: from a consumer warpgroup's registers to the epilogue warps, through shared memory.
//
// At the end of a tile each thread packs its accumulators, 128 or more, into words of two 16-bit elements. As many
// as there are epilogue tiles for are stored at once; the rest stays in registers and is stored in the middle of
// the next tile, when those are empty again. So the next tile's wgmmas start with next to no delay.
#pragma once

#include "backends/cuda/grouped/pipeline.cuh"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {

/// Tokens of an epilogue tile: 32, or 16 with gate in the first 16 rows and up in the others.
template <int kOperands>
inline constexpr int kEpiTileN = kEpiTileRows / kOperands;

template <class T, class Config>
class AccumulatorStaging {
  static constexpr int kEpiTiles = SharedMemory<Config::kLayout>::kEpiTiles;
  static constexpr int kOperands = Config::kOperands, kAccumulators = Config::kAccumulators;
  static constexpr int kTileSteps = kAccumulators / 16;  ///< epilogue tiles that a whole tile fills
  static constexpr int kImmediate = kEpiTiles < kTileSteps ? kEpiTiles : kTileSteps,
                       kDeferred = kTileSteps - kImmediate;

 public:
  __device__ AccumulatorStaging(const SharedMemory<Config::kLayout>& shared, int warpgroup)
      : shared_(shared), warpgroup_(warpgroup) {}

  /// Waits until the epilogue tiles that store() fills are empty.
  __device__ void acquire(int tokens) const { wait_empty(min(kImmediate, steps_of(tokens))); }

  /// Stores or defers a tile's accumulators, plus bias[operand][first or second feature of this thread]. Call
  /// acquire() before, and flush() after the tile before.
  __device__ __forceinline__ void store(const float (&d)[kAccumulators], const T (&bias)[2][2], int tokens) {
    const int steps = steps_of(tokens);
#pragma unroll
    for (int step = 0; step < kImmediate; ++step)
      if (step < steps) {
        unsigned words[8];
        pack(d, bias, step, words);
        write(step, words);
      }
    commit(min(kImmediate, steps));
    deferred_tiles_ = max(0, steps - kImmediate);
    if (deferred_tiles_ > 0) {
#pragma unroll
      for (int step = 0; step < kDeferred; ++step) pack(d, bias, kImmediate + step, deferred_[step]);
    }
  }

  /// Stores what store() has deferred.
  __device__ __forceinline__ void flush() {
    if (deferred_tiles_ == 0) return;
    wait_empty(deferred_tiles_);
#pragma unroll
    for (int step = 0; step < kDeferred; ++step)
      if (step < deferred_tiles_) write(step, deferred_[step]);
    commit(deferred_tiles_);
    deferred_tiles_ = 0;
  }

 private:
  static __device__ int steps_of(int tokens) { return ceil_div(tokens, kEpiTileN<kOperands>); }

  __device__ void wait_empty(int epi_tiles) const {
#pragma unroll 1
    for (unsigned n = next_; n != next_ + static_cast<unsigned>(epi_tiles); ++n)
      mbarrier_wait(shared_.epi_empty(warpgroup_, shared_.epi_index(n)), shared_.epi_phase(n) ^ 1);
  }
  /// Arrives at the full barriers: this warp has written its features of the next `epi_tiles` epilogue tiles.
  __device__ void commit(int epi_tiles) {
    fence_proxy_async();
    __syncwarp();
    const int lane = lane_of_warp();
    if (lane < epi_tiles)
      mbarrier_arrive(shared_.epi_full(warpgroup_, shared_.epi_index(next_ + static_cast<unsigned>(lane))));
    next_ += static_cast<unsigned>(epi_tiles);
  }

  static __device__ __forceinline__ void pack(const float (&d)[kAccumulators], const T (&bias)[2][2],
                                              int step, unsigned (&words)[8]) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int from = kOperands == 2 ? kAccumulators / 2 * pair + 8 * step : 16 * step + 8 * pair,
                operand = kOperands == 2 ? pair : 0;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        words[4 * pair + i] = packed<T>(d[from + 2 * i] + to_float(bias[operand][i % 2]),
                                        d[from + 2 * i + 1] + to_float(bias[operand][i % 2]));
    }
  }

  /// Words 4p … 4p + 3 are four 8x8 matrices [features][tokens]. Transposed by stmatrix, they are rows 16p …
  /// 16p + 15 of the epilogue tile [tokens][64 features], this warp's 16 features.
  __device__ __forceinline__ void write(int step, const unsigned (&words)[8]) const {
    const std::uint32_t epi_tile =
        shared_.epi_tile(warpgroup_, shared_.epi_index(next_ + static_cast<unsigned>(step)));
    const int lane = lane_of_warp(), warp = static_cast<int>(threadIdx.x) % kWarpgroupThreads / 32;
    const int unit = 2 * warp + ((lane >> 3) & 1);
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int row = 16 * pair + (lane >> 4) * 8 + (lane & 7);
      const unsigned four[4] = {words[4 * pair], words[4 * pair + 1], words[4 * pair + 2],
                                words[4 * pair + 3]};
      stmatrix_x4_trans(epi_tile + row * kRowBytes + ((unit ^ (row & 7)) << 4), four);
    }
  }

  SharedMemory<Config::kLayout> shared_;
  int warpgroup_;
  unsigned next_ = 0;       ///< epilogue tile, counted from the kernel's first
  int deferred_tiles_ = 0;  ///< epilogue tiles that deferred_ fills
  unsigned deferred_[kDeferred > 0 ? kDeferred : 1][8];
};

}  // namespace moebench::cuda::grouped
