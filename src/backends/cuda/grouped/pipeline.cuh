// SPDX-License-Identifier: Apache-2.0
// The warps of a block, and its shared memory: rings of slots between producers and readers. Operand stages go from
// TMA to the consumer warpgroups, tiles (what to compute next) from the producer warp to all others, epilogue
// tiles of accumulators from a consumer warpgroup to the epilogue warps. Every slot has two mbarriers: full
// (written, may be read) and empty (read, may be written again).
#pragma once

#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/ptx/hopper.cuh"

namespace moebench::cuda::grouped {

using namespace ptx;

inline constexpr int kConsumers = 2, kWarpgroupThreads = 128;  ///< consumer warpgroups: they issue wgmma
inline constexpr int kEpilogueWarps = 3;                       ///< registers allow no more
/// Registers of a thread: 256 consumer threads have 200 each, 128 producer and epilogue threads 104, of 65536.
inline constexpr int kConsumerRegisters = 200, kHelperRegisters = 104;
inline constexpr int kBlockThreads = kConsumers * kWarpgroupThreads + 32 * (1 + kEpilogueWarps);

inline constexpr int kRowBytes = 128;  ///< a row of 64 elements in shared memory, swizzled as TMA does (128B)
inline constexpr int kEpiTileRows = 32, kEpiTileBytes = kEpiTileRows * kRowBytes;  ///< 64 features a row
inline constexpr int kTileSlots = 4, kTileBytes = 32;                              ///< ring of struct Tile

/// The named barrier of one consumer warpgroup; 0 is __syncthreads.
__device__ inline int warpgroup_barrier_id(int warpgroup) { return 1 + warpgroup; }

/// A slot of a ring, and the parity of the phase that its mbarriers are in.
template <int kSlots>
struct PipelineState {
  int index = 0;
  unsigned phase = 0;
  __device__ void advance() {
    if (++index == kSlots) index = 0, phase ^= 1;
  }
};

/// Addresses in shared memory, the same in all blocks of a cluster:
/// [stages | epilogue tiles of warpgroup 0 | of warpgroup 1 | tile ring | mbarriers].
template <SmemLayout kLayout>
struct SharedMemory {
  static constexpr bool kStandard = kLayout == SmemLayout::standard, kWide = kLayout == SmemLayout::wide_n;
  /// Features of one operand and the maximum N of tokens, or of two operands and half as many tokens.
  static constexpr int kStageBytes = kRowBytes * (kTileM + max_tile_n(kLayout));
  static constexpr int kStages = kStandard ? 4 : 3;
  static constexpr int kEpiTiles = kStandard ? 4 : kWide ? 8 : 10;  ///< of a consumer warpgroup
  static constexpr int kAlignment = 1024;                           ///< of swizzled tiles
  static constexpr int kBytes = kAlignment + kStages * kStageBytes + kConsumers * kEpiTiles * kEpiTileBytes +
                                kTileSlots * kTileBytes +
                                8 * 2 * (kStages + kTileSlots + kConsumers * kEpiTiles);

  std::uint32_t base;  ///< aligned to kAlignment
  __device__ std::uint32_t stage(int i) const { return base + i * kStageBytes; }
  __device__ std::uint32_t epi_tile(int warpgroup, int i) const {
    return stage(kStages) + (warpgroup * kEpiTiles + i) * kEpiTileBytes;
  }
  /// The slot of a warpgroup's epilogue tile n, counted from the kernel's first, and the parity of its phase.
  static __device__ int epi_index(unsigned n) { return static_cast<int>(n % kEpiTiles); }
  static __device__ unsigned epi_phase(unsigned n) { return n / kEpiTiles & 1; }
  __device__ std::uint32_t tile(int i) const { return epi_tile(kConsumers, 0) + i * kTileBytes; }
  __device__ std::uint32_t stage_full(int i) const { return barrier(i); }
  __device__ std::uint32_t stage_empty(int i) const { return barrier(kStages + i); }
  __device__ std::uint32_t tile_full(int i) const { return barrier(2 * kStages + i); }
  __device__ std::uint32_t tile_empty(int i) const { return barrier(2 * kStages + kTileSlots + i); }
  __device__ std::uint32_t epi_full(int warpgroup, int i) const { return epi_barrier(2 * warpgroup, i); }
  __device__ std::uint32_t epi_empty(int warpgroup, int i) const { return epi_barrier(2 * warpgroup + 1, i); }

  /// Called by one thread. `gatherers`: threads that copy into stages by cp.async, beside TMA.
  __device__ void init(unsigned gatherers) const {
    constexpr unsigned kWarps = kConsumers * kWarpgroupThreads / 32;
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(stage_full(i), 1 + gatherers);
      mbarrier_init(stage_empty(i), cluster_size() * kWarps);
    }
    for (int i = 0; i < kTileSlots; ++i) {
      mbarrier_init(tile_full(i), 1);
      mbarrier_init(tile_empty(i), kWarps + kEpilogueWarps);
    }
    for (int warpgroup = 0; warpgroup < kConsumers; ++warpgroup)
      for (int i = 0; i < kEpiTiles; ++i) {
        mbarrier_init(epi_full(warpgroup, i), kWarpgroupThreads / 32);
        mbarrier_init(epi_empty(warpgroup, i), 1);
      }
    mbarrier_init_fence();
  }

 private:
  __device__ std::uint32_t barrier(int i) const { return tile(kTileSlots) + 8 * i; }
  __device__ std::uint32_t epi_barrier(int ring, int i) const {
    return barrier(2 * kStages + 2 * kTileSlots + ring * kEpiTiles + i);
  }
};

}  // namespace moebench::cuda::grouped
