// SPDX-License-Identifier: Apache-2.0
// How a grouped GEMM is cut into tiles: pure functions of the sizes, the same on host and device, so that a
// test can visit every tile without a GPU.
//
// Swap A/B: features (columns of the weights) are M, tokens (rows of an expert) are N, because wgmma takes any
// multiple of 16 as N but only 64 as M. A tile is M = 128 features by up to N = 256 tokens, or 288. An expert's
// rows are cut into equal tiles that waste fewer than 16 rows each, not up to 127. Two neighbouring blocks of
// the grid, a cluster, compute the same tokens and neighbouring features, and share the loads of the tokens;
// where rows are gathered, they compute the same features and neighbouring tokens, and share the loads of the
// features. The grid is persistent: unit i (the tiles of a cluster) goes to cluster i modulo the clusters,
// but for late clusters, which take no part in the first rounds.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define MB_BOTH __host__ __device__ inline
#else
#define MB_BOTH inline
#endif

namespace moebench::cuda::grouped {

inline constexpr int kTileM = 128, kTileN = 256, kTileK = 64;
inline constexpr int kWideTileN = 288;  ///< where that saves a tile, see SmemLayout
inline constexpr int kTileNStep = 16;   ///< the N of a tile is a multiple of it

MB_BOTH constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
MB_BOTH constexpr int round_up(int a, int b) { return ceil_div(a, b) * b; }

/// `count` rows in `tiles` tiles of `width` rows; the last one may have fewer, but none is empty.
struct RowSplit {
  int tiles, width;
};
/// Tiles of at most `max_rows` rows, a multiple of kTileNStep. The number of tiles is a multiple of `multiple`;
/// among the last `multiple` tiles some may be empty.
MB_BOTH RowSplit split_rows(int count, int max_rows, int multiple = 1) {
  const int tiles = ceil_div(count, max_rows * multiple) * multiple;
  return {tiles, tiles > 0 ? round_up(ceil_div(count, tiles), kTileNStep) : 0};
}

/// The candidates for the maximum N of a tile: kTileN (half of it for SwiGLU's first GEMM), and down in steps.
inline constexpr int kCandidates = 12;
MB_BOTH constexpr int candidate(int i, int tile_n) {
  const int rows = tile_n - i * kTileNStep;
  return rows > kTileNStep ? rows : kTileNStep;
}

/// Blocks (CTAs) of a cluster. Four would load less, but not every multiprocessor of a GPU has three others in
/// reach: an H100 runs 30 clusters of four, which leaves 12 of its 132 idle.
MB_BOTH constexpr int cluster_size_of(int features) { return features > kTileM ? 2 : 1; }

/// The same where each block gathers tokens of its own: two if a mean expert has more than one tile of them.
MB_BOTH constexpr int cluster_size_when_gathering(int tokens, int tile_n) { return tokens > tile_n ? 2 : 1; }

/// What a block of a cluster of `size` loads per k-block, in bytes: kTileM features of each of `operands`
/// weights (one, or gate and up), and each token of its tile; 128 bytes a row of 64 elements. Blocks share
/// their tokens and each has its own features, or with `own_tokens` the other way round.
struct Loads {
  float features, token;
};
MB_BOTH constexpr Loads loads_of(int operands, int size, bool own_tokens) {
  const auto share = static_cast<float>(size), features = static_cast<float>(128 * kTileM * operands);
  return own_tokens ? Loads{features / share, 128} : Loads{features, 128 / share};
}

// The cost model's constants, in cycles of an H100 or H200. wgmma computes 128 x 1 x 64 in 4 cycles.
inline constexpr int kCyclesPerToken = 4;        ///< of a k-block, for each operand of features
inline constexpr float kLoadBytesPerCycle = 28;  ///< that a block gets from L2 while all blocks load
inline constexpr float kTileOverheadCycles =
    600;                                      ///< between the last wgmma of a tile and the next tile's first
inline constexpr float kWideTileCost = 1.1f;  ///< wide tiles: two wgmmas for one, and one stage fewer
inline constexpr int kMaxShortKBlocks = 3;    ///< up to here the epilogue is the bottleneck
inline constexpr long long kMaxGatheringFfn = 384;  ///< see gathers_rows()
inline constexpr long long kMaxDscoreFfn = 1024;    ///< see computes_dscore_partials()

/// Cycles of the mean tile, if `rows` rows (of all experts) are cut into `tiles` tiles: each of `k_blocks` k-blocks takes
/// as long as its wgmmas or as its loads, whichever is longer.
MB_BOTH float tile_cycles(int rows, int tiles, int k_blocks, int operands, const Loads& loads) {
  const float width = static_cast<float>(rows) / static_cast<float>(tiles);
  const float compute = static_cast<float>(kCyclesPerToken * operands) * width,
              load = (loads.features + loads.token * width) / kLoadBytesPerCycle;
  return static_cast<float>(k_blocks) * (compute > load ? compute : load) + kTileOverheadCycles;
}

/// The clusters of a grid. The last `late` of them begin about `late_cycles` after the others, because kernels of the
/// exchange still hold their multiprocessors.
struct Clusters {
  int all;
  int late = 0;
  float late_cycles = 0;

  MB_BOTH int early() const { return all - late; }
  /// Tiles that each early cluster computes before the late ones have their first.
  MB_BOTH int early_rounds(float cycles_of_tile) const {
    if (late == 0) return 0;
    const float rounds = late_cycles / cycles_of_tile;
    const int whole = static_cast<int>(rounds);
    return static_cast<float>(whole) < rounds ? whole + 1 : whole;
  }
  /// Tiles one after the other until all `units` are computed.
  MB_BOTH int rounds(int units, float cycles_of_tile) const {
    const int before = early_rounds(cycles_of_tile);
    const long long left = units - static_cast<long long>(before) * early();
    return left <= 0 ? ceil_div(units, early()) : before + ceil_div(static_cast<int>(left), all);
  }
};

/// Goes through the units of one cluster: those of the early rounds, if it is an early one, and then every
/// `all`-th of the rest.
struct UnitWalk {
  int unit, rounds_left;

  UnitWalk() = default;
  MB_BOTH UnitWalk(const Clusters& clusters, int cluster, int early_rounds)
      : unit(cluster + (cluster < clusters.early() ? 0 : early_rounds * clusters.early())),
        rounds_left(cluster < clusters.early() ? early_rounds : 0) {}
  MB_BOTH void advance(const Clusters& clusters) {
    unit += --rounds_left >= 0 ? clusters.early() : clusters.all;
  }
};

/// Time of all units, in cycles: whole waves of the mean tile.
MB_BOTH float cycles_of(int rows, int tiles, int units, int k_blocks, const Clusters& clusters, int operands,
                        const Loads& loads) {
  if (tiles == 0) return 0;
  const float tile = tile_cycles(rows, tiles, k_blocks, operands, loads);
  return static_cast<float>(clusters.rounds(units, tile)) * tile;
}

/// Whether the first GEMM gathers its rows, instead of having them packed beforehand. It takes up to a fifth
/// longer then, and `pack` moves 4·H bytes beside its 4·H·F operations a row: that pays with narrow experts.
/// On an H200 it gains at 256 and breaks even at 512.
MB_BOTH constexpr bool gathers_rows(long long ffn) { return ffn <= kMaxGatheringFfn; }

/// Whether dact also sums dact · act for the scores' gradients, so that combine need not read the experts'
/// outputs, 2·H bytes a row. It takes up to 15 % longer. On an H200 it gains at 768 and breaks even at 1024.
MB_BOTH constexpr bool computes_dscore_partials(long long ffn) { return ffn <= kMaxDscoreFfn; }
/// Partial sums of a row: one for 64 features.
MB_BOTH constexpr int dscore_partials_per_row(int features) { return ceil_div(features, 64); }

/// How a block's shared memory is divided (pipeline.cuh).
enum class SmemLayout {
  standard,  ///< most of it for operand stages
  short_k,   ///< the epilogue is the bottleneck: one operand stage less, more epilogue tiles
  wide_n,    ///< room for tiles of kWideTileN tokens, in fewer stages
};
/// The maximum N of a tile with one operand of features.
MB_BOTH constexpr int max_tile_n(SmemLayout layout) {
  return layout == SmemLayout::wide_n ? kWideTileN : kTileN;
}

/// A grouped GEMM as the host can foresee it: each expert has `rows` rows on average, spread by their square
/// root.
struct Forecast {
  float rows;
  int experts, features, k_blocks;
  int blocks;  ///< of the grid that run at once
};

/// The minimum of cycles_of() over all candidates, with one operand of features.
inline float forecast_cycles(const Forecast& f, int tile_n) {
  const int size = cluster_size_of(f.features), feature_units = ceil_div(f.features, kTileM * size);
  const float spread = std::sqrt(f.rows);
  float min_cycles = 0;
  for (int i = 0; i < kCandidates; ++i) {
    const auto max_rows = static_cast<float>(candidate(i, tile_n));
    float expected = 0;
    for (int j = -1; j <= 1; ++j)
      expected +=
          std::ceil((f.rows + static_cast<float>(j) * spread) / max_rows) * static_cast<float>(f.experts) / 3;
    const int tiles = static_cast<int>(std::ceil(expected));
    const float cycles = cycles_of(static_cast<int>(f.rows) * f.experts, tiles, tiles * feature_units,
                                   f.k_blocks, {f.blocks / size}, 1, loads_of(1, size, false));
    if (i == 0 || cycles < min_cycles) min_cycles = cycles;
  }
  return min_cycles;
}

/// Whether wide tiles pay: they must save tiles or a wave.
inline bool tiles_are_wide(const Forecast& f) {
  return kWideTileCost * forecast_cycles(f, kWideTileN) < forecast_cycles(f, kTileN);
}

/// Whether SmemLayout::short_k is faster.
MB_BOTH constexpr bool k_is_short(int k_blocks) { return k_blocks <= kMaxShortKBlocks; }

/// Where unit `index` of an expert lies: down the tiles of tokens in a band of at most kBand, then to the next
/// features, so that the units under way at one time form a block of about equal sides and share in L2 what
/// they load.
struct TileCoord {
  int tokens, features;  ///< in tiles and in units
};
inline constexpr int kBand = 8;

MB_BOTH TileCoord tile_coord_of(int index, int token_tiles, int feature_units) {
  const int band = index / (kBand * feature_units), within = index - band * kBand * feature_units;
  const int left = token_tiles - band * kBand, height = left < kBand ? left : kBand;
  return {band * kBand + within % height, within / height};
}

}  // namespace moebench::cuda::grouped
