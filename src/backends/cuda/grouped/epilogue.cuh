// SPDX-License-Identifier: Apache-2.0
// What follows a product: the finishing warps take boxes of sums from shared memory, apply the activation or
// its derivative, and store whole rows of 128 bytes. They have registers and a beat of their own, so the
// warpgroups that multiply do not wait for them as long as they keep up. What is stored as it is, the copy
// engine stores; only at ragged ends, where a box has rows of the next expert, the warps do that too.
#pragma once

#include "backends/cuda/grouped/handover.cuh"
#include "backends/cuda/grouped/walker.cuh"
#include "backends/cuda/stages/activation.cuh"

namespace moebench::cuda::grouped {

template <class T, class K>
class Epilogue {
 public:
  __device__ Epilogue(const Tensors& tensors, const Sizes& sizes, const Shared<K::kRings>& shared)
      : tensors_(tensors), s_(sizes), shared_(shared) {}

  /// By one warp, `rank` of kFinishers: every kFinishers-th box of all tasks.
  __device__ void run(int rank) {
    index_ = rank;
    if constexpr (kAfter == After::store)
      copy_boxes();
    else
      compute_boxes();
  }

 private:
  using A = Act<std::conditional_t<std::is_same_v<T, __half>, Functions<T>, QuickFunctions>, K::kActivation>;
  static constexpr After kAfter = K::kAfter;
  static constexpr int kParts = K::kParts, kTokens = kBoxTokens<kParts>;                ///< of a box
  static constexpr int kInputs = kAfter != After::differentiate ? 0 : K::kGlu ? 2 : 1;  ///< parts of pre
  /// Of a lane's 16 bytes, 4 tokens each; as registers allow.
  static constexpr int kBatch = kInputs == 2 && K::kDots ? 2 : kInputs > 0 || kParts == 2 ? 4 : 8;
  using Pre = uint4[kInputs > 0 ? kInputs : 1][kBatch];  ///< what a batch needs of pre
  static constexpr int kBatches = kTokens / 4 / kBatch;

  /// A box, and what a lane does of it: 8 features of every fourth token.
  struct Spot {
    int group, place;
    unsigned parity;
    int row, feature;  ///< of the lane's first token, in the matrices
    int valid;         ///< tokens
    bool whole;        ///< the copy engine may store it
  };

  static __device__ int unit() { return lane_of_warp() % 8; }

  /// Boxes that are stored as they are. The copy of one runs while the next is waited for, if that is full
  /// already; if not, the place is given back first, as the multiplying warps may need it to go on.
  __device__ void copy_boxes() {
    Spot now;
    std::uint32_t under_copy = 0;  // lane 0's: the barrier that says the box is empty
    const auto end_copy = [&] {
      if (lane_of_warp() != 0 || under_copy == 0) return;
      wait_for_copies<0>();
      barrier_arrive(under_copy);
      under_copy = 0;
    };
    while (find(now)) {
      const std::uint32_t full = shared_.box_full(now.group, now.place),
                          empty = shared_.box_empty(now.group, now.place);
      if (now.whole) {
        if (lane_of_warp() == 0) {
          if (!barrier_is_over(full, now.parity)) end_copy();
          barrier_wait(full, now.parity);
          copy(now, 0);
          commit_copies();
          if (under_copy != 0) wait_for_copies<1>(), barrier_arrive(under_copy);
          under_copy = empty;
        }
        __syncwarp();
      } else {
        end_copy();
        barrier_wait(full, now.parity);
#pragma unroll
        for (int batch = 0; batch < kBatches; ++batch) {
          uint4 sums[kParts][kBatch];
          read(now, batch, sums);
#pragma unroll
          for (int i = 0; i < kBatch; ++i)
            if (batch * kBatch + i < now.valid)
              *address(s_.out, s_.out_cols, now.row + 4 * (batch * kBatch + i), 0, now.feature) = sums[0][i];
        }
        release(now);
      }
    }
    end_copy();
  }

  /// Boxes that are activated or differentiated. What `differentiate` reads is fetched a batch ahead.
  __device__ void compute_boxes() {
    Spot next;
    Pre ahead;
    bool more = find(next);
    if (more) fetch(next, 0, ahead);
    while (more) {
      const Spot now = next;
      const bool copied = kAfter == After::activate && s_.pre && now.whole;
#pragma unroll
      for (int batch = 0; batch < kBatches; ++batch) {
        Pre pre;
#pragma unroll
        for (int part = 0; part < kInputs; ++part)
#pragma unroll
          for (int i = 0; i < kBatch; ++i) pre[part][i] = ahead[part][i];
        if (batch == 0) {
          barrier_wait(shared_.box_full(now.group, now.place), now.parity);
          if (copied && lane_of_warp() == 0) {
            for (int part = 0; part < kParts; ++part) copy(now, part);
            commit_copies();
          }
        }
        uint4 sums[kParts][kBatch];
        read(now, batch, sums);
        if (batch < kBatches - 1) {
          fetch(now, batch + 1, ahead);
        } else {
          if (!copied) release(now);
          more = find(next);
          if (more) fetch(next, 0, ahead);
        }
        float dots[kBatch] = {};
#pragma unroll
        for (int i = 0; i < kBatch; ++i)
          if (batch * kBatch + i < now.valid)
            finish(now.row + 4 * (batch * kBatch + i), now.feature, copied, sums[0][i], sums[kParts - 1][i],
                   pre[0][i], pre[kInputs > 1 ? 1 : 0][i], dots[i]);
        if constexpr (K::kDots) keep_dots(now, batch, dots);
      }
      if (copied) {
        if (lane_of_warp() == 0) wait_for_copies<0>();
        release(now);
      }
    }
  }

  /// This warp's next box, or false.
  __device__ bool find(Spot& spot) {
    while (index_ >= kGroups * steps_) {
      index_ -= kGroups * steps_;
      before_ += static_cast<unsigned>(steps_);
      task_ = read_task(shared_, turn_);
      turn_.advance();
      if (task_.inner == 0) return false;
      steps_ = ceil_div(task_.tokens, kTokens);
    }
    const int step = index_ / kGroups;
    const unsigned box = before_ + static_cast<unsigned>(step);
    spot.group = index_ % kGroups;
    spot.place = Shared<K::kRings>::place(box), spot.parity = Shared<K::kRings>::parity(box);
    const int token = step * kTokens + lane_of_warp() / 8;
    spot.feature = task_.feature + 64 * spot.group + 8 * unit();
    spot.row = (K::kGradient ? task_.expert * s_.tokens : task_.row) + task_.token + token;
    spot.valid = spot.feature < s_.features ? ceil_div(task_.tokens - token, 4) : 0;
    // The copy engine stops at the ends of the matrix, of each expert's with `gradient`, but not of a tile.
    const bool ends = K::kGradient && task_.token + task_.tokens == s_.tokens;
    spot.whole = (ends || task_.tokens >= (step + 1) * kTokens) &&
                 (!K::kGated || task_.feature + 64 * (spot.group + 1) <= s_.features);
    index_ += kFinishers;
    return true;
  }

  __device__ void fetch(const Spot& spot, int batch, Pre& pre) const {
#pragma unroll
    for (int part = 0; part < kInputs; ++part)
#pragma unroll
      for (int i = 0; i < kBatch; ++i)
        if (batch * kBatch + i < spot.valid)
          pre[part][i] =
              *address(s_.pre, s_.pre_cols, spot.row + 4 * (batch * kBatch + i), part, spot.feature);
  }

  /// This warp has read the box.
  __device__ void release(const Spot& spot) const {
    __syncwarp();
    if (lane_of_warp() == 0) barrier_arrive(shared_.box_empty(spot.group, spot.place));
  }

  /// This lane's part of a box.
  __device__ void read(const Spot& spot, int batch, uint4 (&sums)[kParts][kBatch]) const {
#pragma unroll
    for (int part = 0; part < kParts; ++part)
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int row = part * kTokens + 4 * (batch * kBatch + i) + lane_of_warp() / 8;
        sums[part][i] =
            load_shared(shared_.box(spot.group, spot.place) + row * 128 + ((unit() ^ (row & 7)) << 4));
      }
  }

  /// Begins to copy part of a box to memory; by lane 0.
  __device__ void copy(const Spot& spot, int part) const {
    const bool stacked = K::kGradient;
    store_box(&tensors_.stored, shared_.box(spot.group, spot.place) + part * kTokens * 128,
              spot.feature + part * s_.features, stacked ? spot.row - task_.expert * s_.tokens : spot.row,
              stacked ? task_.expert : 0);
  }

  /// 8 features of one row. `copied`: pre is being stored. If kDots, adds their sums · act(pre) to `dot`.
  __device__ void finish(int row, int feature, bool copied, const uint4& sums, const uint4& up,
                         const uint4& pre, const uint4& pre_up, float& dot) const {
    if constexpr (kAfter == After::activate) {
      *address(s_.out, s_.out_cols, row, 0, feature) = activated(sums, up);
      if (copied || !s_.pre) return;
      *address(s_.pre, s_.pre_cols, row, 0, feature) = sums;
      if constexpr (K::kGated) *address(s_.pre, s_.pre_cols, row, 1, feature) = up;
    } else {
      uint4 out[2];
      differentiated(sums, pre, pre_up, out, dot);
#pragma unroll
      for (int part = 0; part < kInputs; ++part)
        *address(s_.out, s_.out_cols, row, part, feature) = out[part];
    }
  }

  /// Stores what the eight lanes of each row have in all: lanes exchange halves of their rows, so that each
  /// adds up fewer of them with every step. By all lanes.
  __device__ void keep_dots(const Spot& spot, int batch, float (&dots)[kBatch]) const {
    int bit = 4;
#pragma unroll
    for (int half = kBatch / 2; half > 0; half /= 2, bit /= 2) {
      const bool upper = unit() & bit;
#pragma unroll
      for (int i = 0; i < half; ++i)
        dots[i] = (upper ? dots[half + i] : dots[i]) +
                  __shfl_xor_sync(0xFFFFFFFFu, upper ? dots[i] : dots[half + i], bit);
    }
#pragma unroll
    for (; bit > 0; bit /= 2) dots[0] += __shfl_xor_sync(0xFFFFFFFFu, dots[0], bit);
    constexpr int kLanes = 8 / kBatch;  // that have the same sum
    const int valid =
        __shfl_sync(0xFFFFFFFFu, spot.valid, lane_of_warp() & ~7);  // of the row's first features
    const int token = batch * kBatch + unit() / kLanes;
    if (unit() % kLanes == 0 && token < valid)
      s_.dots[static_cast<std::int64_t>(spot.row + 4 * token) * dots_of(s_.features) + spot.feature / 64] =
          dots[0];
  }

  /// Of [gate | up], part 0 or 1.
  __device__ uint4* address(void* matrix, int cols, int row, int part, int feature) const {
    return reinterpret_cast<uint4*>(static_cast<T*>(matrix) + static_cast<std::int64_t>(row) * cols +
                                    part * s_.features + feature);
  }

  static __device__ uint4 activated(const uint4& first, const uint4& second) {
    const unsigned a[4] = {first.x, first.y, first.z, first.w},
                   b[4] = {second.x, second.y, second.z, second.w};
    unsigned act[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 gate = unpacked<T>(a[i]), up = unpacked<T>(b[i]);
      const float low[2] = {gate.x, up.x}, high[2] = {gate.y, up.y};
      act[i] = packed<T>(A::forward(low), A::forward(high));
    }
    return {act[0], act[1], act[2], act[3]};
  }

  static __device__ void differentiated(const uint4& dact, const uint4& first, const uint4& second,
                                        uint4 (&out)[2], float& dot) {
    const unsigned d[4] = {dact.x, dact.y, dact.z, dact.w}, a[4] = {first.x, first.y, first.z, first.w},
                   b[4] = {second.x, second.y, second.z, second.w};
    unsigned dpre[2][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 gradient = unpacked<T>(d[i]), gate = unpacked<T>(a[i]), up = unpacked<T>(b[i]);
      const float low[2] = {gate.x, up.x}, high[2] = {gate.y, up.y};
      float of_low[2] = {}, of_high[2] = {};
      A::backward(gradient.x, low, of_low);
      A::backward(gradient.y, high, of_high);
      if constexpr (K::kDots)
        dot += A::product(gradient.x, low, of_low) + A::product(gradient.y, high, of_high);
      dpre[0][i] = packed<T>(of_low[0], of_high[0]);
      dpre[1][i] = packed<T>(of_low[1], of_high[1]);
    }
    for (int part = 0; part < 2; ++part)
      out[part] = {dpre[part][0], dpre[part][1], dpre[part][2], dpre[part][3]};
  }

  const Tensors& tensors_;
  const Sizes& s_;
  Shared<K::kRings> shared_;
  Work task_{};
  Turn<kTasks> turn_;    ///< the next task
  int index_ = 0;        ///< of this warp's next box among those of the task
  int steps_ = 0;        ///< boxes of a group that the task fills
  unsigned before_ = 0;  ///< boxes that a group has filled before
};

}  // namespace moebench::cuda::grouped
