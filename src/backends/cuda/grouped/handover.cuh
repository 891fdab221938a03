// SPDX-License-Identifier: Apache-2.0
// A warpgroup's sums on their way to the finishing warps.
//
// When a tile is summed, each thread packs its numbers, 128 or more, into words of two 16-bit elements. As much
// as there are boxes for goes into them, in shared memory, at once; the rest is held in registers, and follows
// when the boxes are empty again, in the middle of the next tile: multiplying goes on with next to no delay.
#pragma once

#include "backends/cuda/grouped/layout.cuh"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {

/// Of a box: 32 tokens, or 16 with gate in the first 16 rows and up in the others.
template <int kParts>
inline constexpr int kBoxTokens = kBoxRows / kParts;

template <class T, class K>
class Handover {
  static constexpr int kBoxes = Shared<K::kRings>::kBoxes;
  static constexpr int kParts = K::kParts, kSums = K::kSums;
  static constexpr int kSteps = kSums / 16;  ///< boxes that a whole tile fills
  static constexpr int kFirst = kBoxes < kSteps ? kBoxes : kSteps, kHeld = kSteps - kFirst;

 public:
  __device__ Handover(const Shared<K::kRings>& shared, int group) : shared_(shared), group_(group) {}

  /// Waits until take() finds its boxes empty.
  __device__ void make_room(int tokens) const { wait(min(kFirst, steps_of(tokens))); }

  /// Takes over a tile's sums, plus bias[0 or, of up, 1][of this thread's first or second feature]. After
  /// make_room(); nothing may be left.
  __device__ __forceinline__ void take(const float (&d)[kSums], const T (&bias)[2][2], int tokens) {
    const int steps = steps_of(tokens);
#pragma unroll
    for (int step = 0; step < kFirst; ++step)
      if (step < steps) {
        unsigned words[8];
        pack(d, bias, step, words);
        put(step, words);
      }
    full(min(kFirst, steps));
    held_steps_ = max(0, steps - kFirst);
    if (held_steps_ > 0) {
#pragma unroll
      for (int step = 0; step < kHeld; ++step) pack(d, bias, kFirst + step, held_[step]);
    }
  }

  /// Hands over what take() has left.
  __device__ __forceinline__ void finish() {
    if (held_steps_ == 0) return;
    wait(held_steps_);
#pragma unroll
    for (int step = 0; step < kHeld; ++step)
      if (step < held_steps_) put(step, held_[step]);
    full(held_steps_);
    held_steps_ = 0;
  }

 private:
  static __device__ int steps_of(int tokens) { return ceil_div(tokens, kBoxTokens<kParts>); }

  __device__ void wait(int boxes) const {
#pragma unroll 1
    for (unsigned box = next_; box != next_ + static_cast<unsigned>(boxes); ++box)
      barrier_wait(shared_.box_empty(group_, shared_.place(box)), shared_.parity(box) ^ 1);
  }
  /// Tells the finishing warps that this warp has filled its part of so many boxes.
  __device__ void full(int boxes) {
    fence_async();
    __syncwarp();
    const int lane = lane_of_warp();
    if (lane < boxes)
      barrier_arrive(shared_.box_full(group_, shared_.place(next_ + static_cast<unsigned>(lane))));
    next_ += static_cast<unsigned>(boxes);
  }

  static __device__ __forceinline__ void pack(const float (&d)[kSums], const T (&bias)[2][2], int step,
                                              unsigned (&words)[8]) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int from = kParts == 2 ? kSums / 2 * pair + 8 * step : 16 * step + 8 * pair,
                part = kParts == 2 ? pair : 0;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        words[4 * pair + i] = packed<T>(d[from + 2 * i] + to_float(bias[part][i % 2]),
                                        d[from + 2 * i + 1] + to_float(bias[part][i % 2]));
    }
  }

  /// Words 4p … 4p + 3 are four 8x8 matrices: tokens along a row of the accumulators, features down.
  /// Transposed, they are rows 16p … 16p + 15 of the box, this warp's 16 features.
  __device__ __forceinline__ void put(int step, const unsigned (&words)[8]) const {
    const std::uint32_t box = shared_.box(group_, shared_.place(next_ + static_cast<unsigned>(step)));
    const int lane = lane_of_warp(), warp = static_cast<int>(threadIdx.x) % kGroupThreads / 32;
    const int unit = 2 * warp + ((lane >> 3) & 1);
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int row = 16 * pair + (lane >> 4) * 8 + (lane & 7);
      const unsigned four[4] = {words[4 * pair], words[4 * pair + 1], words[4 * pair + 2],
                                words[4 * pair + 3]};
      store_matrices(box + row * 128 + ((unit ^ (row & 7)) << 4), four);
    }
  }

  Shared<K::kRings> shared_;
  int group_;
  unsigned next_ = 0;   ///< box, counted from the first
  int held_steps_ = 0;  ///< boxes that held_ fills
  unsigned held_[kHeld > 0 ? kHeld : 1][8];
};

}  // namespace moebench::cuda::grouped
