// SPDX-License-Identifier: Apache-2.0
// A consumer warpgroup: waits for a stage, issues its wgmmas, releases the stage, and gives a finished tile to the
// accumulator staging.
#pragma once

#include "backends/cuda/grouped/accumulator_staging.cuh"
#include "backends/cuda/grouped/producer.cuh"
#include "backends/cuda/grouped/tile_scheduler.cuh"
#include "backends/cuda/ptx/wgmma.cuh"

namespace moebench::cuda::grouped {

// wgmma's A is the features (weights), its B the tokens: each lies in shared memory as it does in memory.
template <GemmKind kGemmKind>
inline constexpr Major kMajorA = kGemmKind == GemmKind::dgrad ? Major::k : Major::mn;
template <GemmKind kGemmKind>
inline constexpr Major kMajorB = kGemmKind == GemmKind::wgrad ? Major::mn : Major::k;

/// wgrad: zeroes rows [valid, 64) of 64 features of a stage: they are the next expert's. Called by one warpgroup.
__device__ inline void clear_rows(std::uint32_t features, int valid, int warpgroup) {
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroupThreads, row = thread / 2;
  if (row >= valid) {
    const std::uint32_t at = features + row * kRowBytes + thread % 2 * 64;
#pragma unroll
    for (int i = 0; i < 4; ++i) store_shared(at + 16 * i, {});
  }
  fence_proxy_async();
  named_barrier_sync(warpgroup_barrier_id(warpgroup), kWarpgroupThreads);
}

/// Arrives at a stage's empty barrier in all blocks of the cluster: this warp has read the stage.
__device__ inline void release(std::uint32_t empty) {
  if (lane_of_warp() < static_cast<int>(cluster_size()))
    mbarrier_arrive_cluster(empty, static_cast<unsigned>(lane_of_warp()));
}

/// How far a consumer warpgroup has read the ring of stages.
template <SmemLayout kLayout>
struct StageReader {
  PipelineState<SharedMemory<kLayout>::kStages> state;  ///< the next stage
  bool is_full = false;                                 ///< the next stage is known to be full
  std::uint32_t previous_empty_barrier = 0;  ///< of the stage before, while wgmmas still read it; else 0
};

/// k-blocks [from, to) of a tile with N = kWidth; d [64 x N] of each operand += features [64 x 64] · tokens [64 x N].
/// The wgmma queue is shallow: a warp that issues one more than fits blocks. Barrier work is interleaved between the
/// four wgmmas of a k-block to keep the queue full.
template <class T, class Config, int kWidth>
__device__ __forceinline__ void multiply_k_blocks(float (&d)[Config::kAccumulators], const Tile& tile,
                                                  int from, int to,
                                                  const SharedMemory<Config::kLayout>& shared,
                                                  StageReader<Config::kLayout>& reader, int warpgroup) {
  constexpr Major kA = kMajorA<Config::kGemmKind>, kB = kMajorB<Config::kGemmKind>;
  // wgmma has N <= 256. Where tiles may be wider, all widths above 128 are split at 128: split differently by width,
  // the compiler finds no common registers for the accumulators and serialises all wgmmas (note C7511).
  constexpr int kHead = Config::kMaxN > kTileN && kWidth > 128 ? 128 : kWidth;
  for (int block = from; block < to; ++block) {
    if (!reader.is_full) mbarrier_wait(shared.stage_full(reader.state.index), reader.state.phase);
    const std::uint32_t features = shared.stage(reader.state.index) + warpgroup * kLoadBytes;
    if constexpr (Config::kGathers)
      fence_proxy_async();  // cp.async of the producer's lanes has written the tokens
    else if constexpr (Config::kWgrad)
      if (tile.rows - block * kTileK < kTileK) clear_rows(features, tile.rows - block * kTileK, warpgroup);
    std::uint32_t a = descriptor_low(features),
                  b = descriptor_low(shared.stage(reader.state.index) + 2 * Config::kOperands * kLoadBytes);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kTileK / 16; ++k) {
      wgmma<T, kHead, kA, kB>(d, a, b, block > 0 || k > 0);
      if constexpr (kWidth > kHead)
        wgmma<T, kWidth - kHead, kA, kB>(d + kHead / 2, a, b + (kHead * kRowBytes >> 4), block > 0 || k > 0);
      if constexpr (Config::kOperands == 2)
        wgmma<T, kWidth, kA, kB>(d + Config::kAccumulators / 2, a + (2 * kLoadBytes >> 4), b,
                                 block > 0 || k > 0);
      a += kDescriptorStep<kA>, b += kDescriptorStep<kB>;
      if (k == 0) {
        wgmma_commit();
        wgmma_wait<1>();
        if (reader.previous_empty_barrier != 0) release(reader.previous_empty_barrier);
        reader.previous_empty_barrier = shared.stage_empty(reader.state.index);
        reader.state.advance();
      } else if (k == 1) {
        reader.is_full = __all_sync(
            0xFFFFFFFFu, mbarrier_test_wait(shared.stage_full(reader.state.index), reader.state.phase));
      }
    }
    wgmma_commit();
  }
}

/// The same, with the N of this tile found at run time: `width` in steps of kTileNStep.
/// A switch, not a fold over an index_sequence, which the compiler turns into other machine code.
template <class T, class Config>
__device__ __forceinline__ void multiply_k_blocks_of_width(float (&d)[Config::kAccumulators],
                                                           const Tile& tile, int width, int from, int to,
                                                           const SharedMemory<Config::kLayout>& shared,
                                                           StageReader<Config::kLayout>& reader,
                                                           int warpgroup) {
  switch (width) {
#define MB_WIDTH(i)                                                                               \
  case i:                                                                                         \
    if constexpr (i * kTileNStep <= Config::kTokens)                                              \
      multiply_k_blocks<T, Config, i * kTileNStep>(d, tile, from, to, shared, reader, warpgroup); \
    break
    MB_WIDTH(1);
    MB_WIDTH(2);
    MB_WIDTH(3);
    MB_WIDTH(4);
    MB_WIDTH(5);
    MB_WIDTH(6);
    MB_WIDTH(7);
    MB_WIDTH(8);
    MB_WIDTH(9);
    MB_WIDTH(10);
    MB_WIDTH(11);
    MB_WIDTH(12);
    MB_WIDTH(13);
    MB_WIDTH(14);
    MB_WIDTH(15);
    MB_WIDTH(16);
    MB_WIDTH(17);
    MB_WIDTH(18);
#undef MB_WIDTH
  }
}

/// Accumulates a tile in d, and midway flushes what is left of the tile before; the two warpgroups not at the same
/// time. `read_next` is called once, while the last wgmmas run.
template <class T, class Config, class Staging, class ReadNext>
__device__ __forceinline__ void accumulate_tile(float (&d)[Config::kAccumulators], const Tile& tile,
                                                const SharedMemory<Config::kLayout>& shared,
                                                StageReader<Config::kLayout>& reader, int warpgroup,
                                                Staging& staging, ReadNext read_next) {
  const int width = __shfl_sync(0xFFFFFFFFu, max(1, ceil_div(tile.n_count, kTileNStep)), 0),
            blocks = __shfl_sync(0xFFFFFFFFu, tile.k_blocks, 0);
  const int midway = max(1, (blocks + warpgroup) / 2);  // flush() after this k-block
#pragma unroll 1
  for (int from = 0, to = midway; from < blocks; from = to, to = blocks) {
    multiply_k_blocks_of_width<T, Config>(d, tile, width, from, to, shared, reader, warpgroup);
    staging.flush();
  }
  read_next();
  staging.acquire(tile.n_count);
  wgmma_wait<0>();
  if (reader.previous_empty_barrier != 0) release(reader.previous_empty_barrier);
  reader.previous_empty_barrier = 0;
}

/// The bias of this thread's two features of a tile, for each operand; as stored, so that the load is not waited for
/// yet.
template <class T, bool kGated>
__device__ void read_bias(const KernelParams& params, const Tile& tile, int warpgroup, T (&bias)[2][2]) {
  if (!params.bias) return;
  const T* of = static_cast<const T*>(params.bias) +
                static_cast<std::int64_t>(tile.expert) * (kGated ? 2 * params.size_m : params.size_m);
  const int first = tile.m + 64 * warpgroup + 16 * (static_cast<int>(threadIdx.x) % kWarpgroupThreads / 32) +
                    lane_of_warp() / 4;
#pragma unroll
  for (int operand = 0; operand < (kGated ? 2 : 1); ++operand)
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (first + 8 * i < params.size_m) bias[operand][i] = of[operand * params.size_m + first + 8 * i];
}

/// The consumer: called by one warpgroup, which computes 64 features of each operand of every tile.
template <class T, class Config>
__device__ __forceinline__ void consume(const KernelParams& params,
                                        const SharedMemory<Config::kLayout>& shared, int warpgroup) {
  AccumulatorStaging<T, Config> staging(shared, warpgroup);
  StageReader<Config::kLayout> reader;
  PipelineState<kTileSlots> tile_slot;
  Tile next = read_tile(shared, tile_slot);
  float d[Config::kAccumulators];
  while (next.k_blocks > 0) {
    const Tile tile = next;
    T bias[2][2] = {};
    if constexpr (Config::kGemmKind == GemmKind::fprop)
      read_bias<T, Config::kGated>(params, tile, warpgroup, bias);
    accumulate_tile<T, Config>(d, tile, shared, reader, warpgroup, staging, [&] {
      tile_slot.advance();
      next = read_tile(shared, tile_slot);
    });
    staging.store(d, bias, tile.n_count);
  }
  staging.flush();
}

}  // namespace moebench::cuda::grouped
