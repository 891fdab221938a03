// SPDX-License-Identifier: Apache-2.0
// The producer warp: loads the operands of every k-block into the ring of stages, by TMA, and publishes the tiles.
// A stage is [features 64 x 64, two or four of them | tokens up to N x 64], 16-bit elements, rows of 128 bytes.
#pragma once

#include "backends/cuda/grouped/gather.cuh"
#include "backends/cuda/grouped/tile_scheduler.cuh"

namespace moebench::cuda::grouped {

/// One TMA load of 64 rows, and of 32 rows of tokens.
inline constexpr int kLoadBytes = 64 * 64 * 2, kTokenLoadBytes = 32 * 64 * 2;

/// Starts the TMA loads of a stage, for k-block `block`: features first, then this block's share of the tokens,
/// multicast to the cluster; if rows are gathered a share of the features instead, and no tokens. Called by one
/// thread.
template <class Config>
__device__ void load_stage(const CUtensorMap& features, const CUtensorMap& tokens, const KernelParams& params,
                           const Tile& tile, int block, std::uint32_t to, std::uint32_t full) {
  constexpr int kFeatureLoads = 2 * Config::kOperands, kTokensOfLoad = Config::kWgrad ? 64 : 32;
  constexpr int kTokenBytes = Config::kWgrad ? kLoadBytes : kTokenLoadBytes;
  const int cta = static_cast<int>(cta_rank()), size = static_cast<int>(cluster_size());
  const int token_loads = Config::kGathers ? 0 : ceil_div(tile.n_count, kTokensOfLoad), k = block * kTileK;
  const unsigned all_ctas = (1u << size) - 1;
  mbarrier_arrive_expect_tx(full,
                            static_cast<unsigned>(kFeatureLoads * kLoadBytes + token_loads * kTokenBytes));
  for (int i = Config::kGathers ? cta : 0; i < kFeatureLoads; i += Config::kGathers ? size : 1) {
    const int feature = tile.m + 64 * (i % 2) + i / 2 * params.size_m;
    const int x = Config::kGemmKind == GemmKind::dgrad ? k : feature;
    const int y = Config::kWgrad                         ? tile.row + k
                  : Config::kGemmKind == GemmKind::dgrad ? feature
                                                         : k,
              z = Config::kWgrad ? 0 : tile.expert;
    if constexpr (Config::kGathers)
      tma_load_multicast(to + i * kLoadBytes, &features, full, x, y, z, all_ctas);
    else
      tma_load(to + i * kLoadBytes, &features, full, x, y, z);
  }
  const std::uint32_t tokens_to = to + kFeatureLoads * kLoadBytes;
  for (int i = cta; i < token_loads; i += size) {
    const int token = tile.n + i * kTokensOfLoad;
    tma_load_multicast(tokens_to + i * kTokenBytes, &tokens, full, Config::kWgrad ? token : k,
                       tile.row + (Config::kWgrad ? k : token), 0, all_ctas);
  }
}

/// The producer: called by one warp. It publishes the next tile before it loads this one, so that no warp waits for
/// it.
template <class Config>
__device__ void produce(const CUtensorMap& features, const CUtensorMap& tokens, const KernelParams& params,
                        const SharedMemory<Config::kLayout>& shared, TileScheduler<Config> scheduler) {
  [[maybe_unused]] RowGather<Config> rows(params);
  PipelineState<SharedMemory<Config::kLayout>::kStages> stage;
  PipelineState<kTileSlots> tile_slot;
  const auto publish_next = [&] {
    Tile tile{};
    scheduler.next(tile);
    if (lane_of_warp() == 0) publish_tile(shared, tile_slot, tile);
    __syncwarp();
    tile_slot.advance();
    return tile;
  };
  Tile tile = publish_next();
  while (tile.k_blocks > 0) {
    const Tile next = publish_next();
    if constexpr (Config::kGathers) rows.begin(tile);
    if (Config::kGathers || lane_of_warp() == 0) {
      for (int block = 0; block < tile.k_blocks; ++block, stage.advance()) {
        const std::uint32_t to = shared.stage(stage.index), full = shared.stage_full(stage.index);
        mbarrier_wait(shared.stage_empty(stage.index), stage.phase ^ 1);
        if (lane_of_warp() == 0) load_stage<Config>(features, tokens, params, tile, block, to, full);
        if constexpr (Config::kGathers) {
          __syncwarp();
          rows.load(tile, block, to + 2 * Config::kOperands * kLoadBytes, full);
        }
      }
    }
    __syncwarp();
    tile = next;
  }
}

}  // namespace moebench::cuda::grouped
