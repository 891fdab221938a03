// SPDX-License-Identifier: Apache-2.0
// Who works in a block, and what lies where in its shared memory: four rings. Stages go from the copy engine
// to the multiplying warpgroups, tasks from the producer to everyone, boxes of finished sums from a warpgroup
// to the finishing warps. Every place of a ring has a barrier that says it is full and one that says it is
// empty.
#pragma once

#include "backends/cuda/grouped/hopper.cuh"
#include "backends/cuda/grouped/schedule.h"

namespace moebench::cuda::grouped {

inline constexpr int kGroups = 2, kGroupThreads = 128;  ///< warpgroups that multiply
inline constexpr int kFinishers = 3;                    ///< warps; registers allow no more
inline constexpr int kAllThreads = kGroups * kGroupThreads + 32 * (1 + kFinishers);

inline constexpr int kBoxRows = 32, kBoxBytes = kBoxRows * 128;  ///< 64 features a row
inline constexpr int kTasks = 4, kTaskBytes = 32;

/// The named barrier of one warpgroup's threads.
__device__ inline int group_barrier(int group) { return 1 + group; }

/// A place in a ring and the parity of its phase.
template <int kPlaces>
struct Turn {
  int place = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++place == kPlaces) place = 0, parity ^= 1;
  }
};

/// Addresses, the same in all blocks of a cluster.
template <Rings kRings>
struct Shared {
  static constexpr bool kUsual = kRings == Rings::usual, kWide = kRings == Rings::wide;
  /// One part of features and the most tokens, or two and half as many; 128 bytes each.
  static constexpr int kStageBytes = 128 * (kTileFeatures + most_tokens(kRings));
  static constexpr int kStages = kUsual ? 4 : 3;
  static constexpr int kBoxes = kUsual ? 4 : kWide ? 8 : 10;  ///< of a warpgroup
  static constexpr int kBytes = 1024 + kStages * kStageBytes + kGroups * kBoxes * kBoxBytes +
                                kTasks * kTaskBytes +
                                8 * 2 * (kStages + kTasks + kGroups * kBoxes);  ///< with 1024 to align

  std::uint32_t base;  ///< aligned to 1024
  __device__ std::uint32_t stage(int i) const { return base + i * kStageBytes; }
  __device__ std::uint32_t box(int group, int i) const {
    return stage(kStages) + (group * kBoxes + i) * kBoxBytes;
  }
  /// Where box n of a warpgroup lies, counted from the kernel's first, and the parity of its phase.
  static __device__ int place(unsigned n) { return static_cast<int>(n % kBoxes); }
  static __device__ unsigned parity(unsigned n) { return n / kBoxes & 1; }
  __device__ std::uint32_t task(int i) const { return box(kGroups, 0) + i * kTaskBytes; }
  __device__ std::uint32_t stage_full(int i) const { return barrier(i); }
  __device__ std::uint32_t stage_empty(int i) const { return barrier(kStages + i); }
  __device__ std::uint32_t task_full(int i) const { return barrier(2 * kStages + i); }
  __device__ std::uint32_t task_empty(int i) const { return barrier(2 * kStages + kTasks + i); }
  __device__ std::uint32_t box_full(int group, int i) const { return box_barrier(2 * group, i); }
  __device__ std::uint32_t box_empty(int group, int i) const { return box_barrier(2 * group + 1, i); }

  /// By one thread. `fetchers`: threads that copy into stages themselves, beside the copy engine.
  __device__ void init(unsigned fetchers) const {
    constexpr unsigned kWarps = kGroups * kGroupThreads / 32;
    for (int i = 0; i < kStages; ++i) {
      barrier_init(stage_full(i), 1 + fetchers);
      barrier_init(stage_empty(i), cluster_size() * kWarps);
    }
    for (int i = 0; i < kTasks; ++i) {
      barrier_init(task_full(i), 1);
      barrier_init(task_empty(i), kWarps + kFinishers);
    }
    for (int group = 0; group < kGroups; ++group)
      for (int i = 0; i < kBoxes; ++i) {
        barrier_init(box_full(group, i), kGroupThreads / 32);
        barrier_init(box_empty(group, i), 1);
      }
    barrier_init_fence();
  }

 private:
  __device__ std::uint32_t barrier(int i) const { return task(kTasks) + 8 * i; }
  __device__ std::uint32_t box_barrier(int ring, int i) const {
    return barrier(2 * kStages + 2 * kTasks + ring * kBoxes + i);
  }
};

}  // namespace moebench::cuda::grouped
