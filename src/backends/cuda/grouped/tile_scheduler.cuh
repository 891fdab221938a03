// SPDX-License-Identifier: Apache-2.0
// The tile scheduler: which tiles a cluster computes, found on the device from the rows of each expert; and the
// parameters that all roles of the kernel share.
#pragma once

#include "backends/cuda/grouped/grouped_gemm.h"
#include "backends/cuda/grouped/pipeline.cuh"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {

/// What a kernel is compiled for, and what follows from it for its tiles. kOperands: weights that a tile
/// multiplies by, each of kTileM features: one, or two for SwiGLU's first GEMM (gate and up).
template <GemmKind kGemmKindOf, EpilogueOp kEpilogueOf, Activation kActivationOf, SmemLayout kLayoutOf,
          bool kGathersOf = false, bool kDscoreOf = false>
struct KernelConfig {
  static constexpr SmemLayout kLayout = kLayoutOf;
  static constexpr GemmKind kGemmKind = kGemmKindOf;
  static constexpr EpilogueOp kEpilogue = kEpilogueOf;
  static constexpr Activation kActivation = kActivationOf;
  static constexpr bool kGathers = kGathersOf;  ///< token rows are read through slot_of
  static constexpr bool kDscore = kDscoreOf;    ///< see GroupedGemmArgs::dscore_partials
  static constexpr bool kWgrad = kGemmKind == GemmKind::wgrad;
  static constexpr bool kGlu = kActivation == Activation::swiglu;
  static constexpr bool kGated = kEpilogue == EpilogueOp::activate && kGlu;
  static constexpr int kOperands = kGated ? 2 : 1;
  static constexpr int kMaxN = max_tile_n(kLayout);
  static constexpr int kTokens = kMaxN / kOperands;  ///< the maximum N of a tile
  static constexpr int kAccumulators = kMaxN / 2;    ///< fp32, of a consumer thread
};

/// A grouped GEMM as the kernel sees it, after swap A/B.
struct KernelParams {
  const std::int32_t *begin, *end;  ///< rows of each expert
  int experts;
  int size_m;         ///< features: columns of `out`, for SwiGLU's first GEMM those of the gate
  int size_n;         ///< wgrad: rows of `out` per expert; else N is the rows of each expert
  int size_k;         ///< fprop and dgrad; for wgrad K is the rows of each expert
  int total_rows;     ///< of all experts, as far as the host knows
  int late_clusters;  ///< the last ones of the grid, which begin about
  float late_cycles;  ///< so much later, see GroupedGemmArgs::spare_units
  const void* bias;   ///< [experts, size_m · operands]
  void *out, *pre;
  int out_cols, pre_cols;
  const void* by_token;  ///< if rows are gathered: GroupedGemmArgs::a, its columns, top_k and slot_of
  int token_cols, top_k;
  const std::int32_t* slot_of;
  float* dscore_partials;
  std::byte* const* out_rows;  ///< GroupedGemmArgs::out_rows
};

/// TMA descriptors, passed as __grid_constant__ so that they are not copied to local memory.
struct TensorMaps {
  CUtensorMap features, tokens;
  CUtensorMap stored;  ///< what TMA stores without a change: out, or pre where out is activated
};

/// A tile of one block: features [m, m + kTileM) and tokens [n, n + n_count) of the expert, perhaps none.
struct Tile {
  int expert, row, rows;  ///< the expert's rows: first and count
  int m, n, n_count;
  int k_blocks;  ///< at least 1; 0: no tile is left
};

/// Publishes a tile in a slot of the ring; called by one thread. A tile without k-blocks ends the loop of all warps.
template <SmemLayout kLayout>
__device__ void publish_tile(const SharedMemory<kLayout>& shared, const PipelineState<kTileSlots>& state,
                             const Tile& w) {
  mbarrier_wait(shared.tile_empty(state.index), state.phase ^ 1);
  const auto word = [](int i) { return static_cast<unsigned>(i); };
  store_shared(shared.tile(state.index), {word(w.expert), word(w.row), word(w.rows), word(w.m)});
  store_shared(shared.tile(state.index) + 16, {word(w.n), word(w.n_count), word(w.k_blocks), 0});
  mbarrier_arrive(shared.tile_full(state.index));
}
/// Called by a warp; every warp but the producer reads every tile.
template <SmemLayout kLayout>
__device__ Tile read_tile(const SharedMemory<kLayout>& shared, const PipelineState<kTileSlots>& state) {
  mbarrier_wait(shared.tile_full(state.index), state.phase);
  const uint4 a = load_shared(shared.tile(state.index)), b = load_shared(shared.tile(state.index) + 16);
  __syncwarp();
  if (lane_of_warp() == 0) mbarrier_arrive(shared.tile_empty(state.index));
  const auto number = [](unsigned word) { return static_cast<int>(word); };
  return {.expert = number(a.x),
          .row = number(a.y),
          .rows = number(a.z),
          .m = number(a.w),
          .n = number(b.x),
          .n_count = number(b.y),
          .k_blocks = number(b.z)};
}

/// Goes through the units of this cluster in order: unit i of the grid goes to cluster i modulo the clusters, but for the
/// first rounds, which the late clusters do not take part in. Called by all lanes of a warp together.
template <class Config>
class TileScheduler {
  static constexpr bool kWgrad = Config::kWgrad;

 public:
  /// Called by all threads of the block; `costs` [kCandidates] in shared memory.
  __device__ TileScheduler(const KernelParams& params, float* costs)
      : params_(params),
        cta_rank_(static_cast<int>(cta_rank())),
        tiles_per_unit_(Config::kGathers ? static_cast<int>(cluster_size()) : 1),
        unit_features_(kTileM * (Config::kGathers ? 1 : static_cast<int>(cluster_size()))),
        feature_units_(ceil_div(params.size_m, unit_features_)) {
    const int size = static_cast<int>(cluster_size());
    clusters_ = {static_cast<int>(gridDim.x) / size, params.late_clusters, params.late_cycles};
    for (int i = static_cast<int>(threadIdx.x) / 32; i < kCandidates;
         i += static_cast<int>(blockDim.x) / 32) {
      const int tiles = count(candidate(i, Config::kTokens));
      const float mean = cycles_of_mean_tile(tiles);
      const float cycles = static_cast<float>(clusters_.rounds(units_of(tiles), mean)) * mean;
      if (lane_of_warp() == 0) costs[i] = cycles;
    }
    __syncthreads();
    int best = 0;
    for (int i = 1; i < kCandidates; ++i)
      if (costs[i] < costs[best]) best = i;
    max_n_ = candidate(best, Config::kTokens);
    const int tiles = count(max_n_), cluster = static_cast<int>(blockIdx.x) / size;
    units_ = units_of(tiles);
    walk_ = UnitWalk(clusters_, cluster, clusters_.early_rounds(cycles_of_mean_tile(tiles)));
  }

  /// The next tile of this block; false, with `tile` unchanged, after the last.
  __device__ bool next(Tile& tile) {
    if (walk_.unit >= units_) return false;
    locate(tile, walk_.unit);
    walk_.advance(clusters_);
    return true;
  }

 private:
  __device__ int rows_of(int expert) const {
    if constexpr (kWgrad) return expert < params_.experts ? params_.size_n : 0;
    return expert < params_.experts ? params_.end[expert] - params_.begin[expert] : 0;
  }
  __device__ int units_of(int tiles) const { return tiles / tiles_per_unit_ * feature_units_; }
  __device__ float cycles_of_mean_tile(int tiles) const {
    if (tiles == 0) return 1;
    return tile_cycles(
        kWgrad ? params_.experts * params_.size_n : params_.total_rows, tiles,
        kWgrad ? ceil_div(params_.total_rows, kTileK * params_.experts) : ceil_div(params_.size_k, kTileK),
        Config::kOperands, loads_of(Config::kOperands, static_cast<int>(cluster_size()), Config::kGathers));
  }
  /// Tiles of all experts if no tile has more than `max_rows` rows.
  __device__ int count(int max_rows) const {
    if constexpr (kWgrad)
      return params_.experts * split_rows(params_.size_n, max_rows, tiles_per_unit_).tiles;
    int tiles = 0;
    for (int e = lane_of_warp(); e < params_.experts; e += 32)
      tiles += split_rows(rows_of(e), max_rows, tiles_per_unit_).tiles;
    return __reduce_add_sync(0xFFFFFFFFu, tiles);
  }
  /// Finds the tile of a unit. Units are asked for in ascending order, so the search continues at the expert where
  /// it ended last time; 32 experts at a time, by a prefix sum over the warp.
  __device__ void locate(Tile& tile, int unit) {
    int local;
    if constexpr (kWgrad) {
      const int each =
          split_rows(params_.size_n, max_n_, tiles_per_unit_).tiles / tiles_per_unit_ * feature_units_;
      tile.expert = unit / each;
      local = unit - tile.expert * each;
    } else {
      int mine, through;
      while (true) {
        mine = through = split_rows(rows_of(first_ + lane_of_warp()), max_n_, tiles_per_unit_).tiles /
                         tiles_per_unit_ * feature_units_;
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
          const int before = __shfl_up_sync(0xFFFFFFFFu, through, step);
          if (lane_of_warp() >= step) through += before;
        }
        const int all = __shfl_sync(0xFFFFFFFFu, through, 31);
        if (unit < base_ + all) break;
        base_ += all;
        first_ += 32;
      }
      const int found = __ffs(static_cast<int>(__ballot_sync(0xFFFFFFFFu, unit < base_ + through))) - 1;
      tile.expert = first_ + found;
      local = unit - base_ - __shfl_sync(0xFFFFFFFFu, through - mine, found);
    }
    tile.row = params_.begin[tile.expert];
    tile.rows = params_.end[tile.expert] - tile.row;
    const int tokens = kWgrad ? params_.size_n : tile.rows;
    const RowSplit split = split_rows(tokens, max_n_, tiles_per_unit_);
    const TileCoord coord = tile_coord_of(local, split.tiles / tiles_per_unit_, feature_units_);
    tile.n = (coord.tokens * tiles_per_unit_ + (Config::kGathers ? cta_rank_ : 0)) * split.width;
    tile.n_count = max(0, min(split.width, tokens - tile.n));
    tile.m = coord.features * unit_features_ + (Config::kGathers ? 0 : cta_rank_ * kTileM);
    tile.k_blocks = kWgrad ? max(1, ceil_div(tile.rows, kTileK)) : ceil_div(params_.size_k, kTileK);
  }

  const KernelParams& params_;
  int cta_rank_, tiles_per_unit_, unit_features_, feature_units_, max_n_, units_;
  Clusters clusters_;
  UnitWalk walk_;
  int first_ = 0, base_ = 0;  ///< the 32 experts under search begin here; units before them
};

}  // namespace moebench::cuda::grouped
