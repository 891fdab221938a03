// SPDX-License-Identifier: Apache-2.0
// How a grouped product is cut into tiles: pure functions of the sizes, the same on host and device, so that
// a test can walk all work.
//
// A tile is 128 features (columns of the weights) by up to 256 tokens (rows of an expert), or 288. Tokens lie
// along the side of the matrix instruction that takes any multiple of 16, so an expert's rows are cut into
// equal tiles that waste fewer than 16 rows each, not up to 127. Two neighbouring blocks of the grid, a
// cluster, work on the same tokens and neighbouring features, and share the tokens' rows; where rows are
// gathered, on the same features and neighbouring tokens, and share the features. The grid is persistent:
// unit i (the tiles of a cluster) goes to cluster i modulo the clusters.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define MB_BOTH __host__ __device__ inline
#else
#define MB_BOTH inline
#endif

namespace moebench::cuda::grouped {

inline constexpr int kTileFeatures = 128, kTileTokens = 256, kTileInner = 64;
inline constexpr int kWideTileTokens = 288;  ///< where they spare a tile, see Rings
inline constexpr int kTokenStep = 16;        ///< widths of tiles are multiples of it

MB_BOTH constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
MB_BOTH constexpr int round_up(int a, int b) { return ceil_div(a, b) * b; }

/// `count` rows in `tiles` tiles of `width` rows, the last one perhaps fewer, none without. `most` is a
/// multiple of kTokenStep. Tiles come in groups of `together`; in the last group some may be empty.
struct Cut {
  int tiles, width;
};
MB_BOTH Cut cut_of(int count, int most, int together = 1) {
  const int tiles = ceil_div(count, most * together) * together;
  return {tiles, tiles > 0 ? round_up(ceil_div(count, tiles), kTokenStep) : 0};
}

/// The candidates for the most rows of a tile: kTileTokens, for SwiGLU's first product half of that, and down
/// in steps.
inline constexpr int kCandidates = 12;
MB_BOTH constexpr int candidate(int i, int tile_tokens) {
  const int rows = tile_tokens - i * kTokenStep;
  return rows > kTokenStep ? rows : kTokenStep;
}

/// Blocks of a cluster. Four would load less, but not all multiprocessors of a GPU find three others: an H100
/// runs 30 clusters of four, which leaves 12 of its 132 idle.
MB_BOTH constexpr int cluster_of(int features) { return features > kTileFeatures ? 2 : 1; }

/// The same where blocks have tokens of their own: two if a mean expert has more than one tile of them.
MB_BOTH constexpr int cluster_of_own(int tokens, int tile_tokens) { return tokens > tile_tokens ? 2 : 1; }

/// What a block of a cluster of `size` loads in an inner block, in bytes: of features, `parts` times 128, and
/// for each token of its tile. Blocks share their tokens and each has its own features, or the other way
/// round.
struct Loads {
  float features, token;
};
MB_BOTH constexpr Loads loads_of(int parts, int size, bool own_tokens) {
  const auto share = static_cast<float>(size), features = static_cast<float>(128 * kTileFeatures * parts);
  return own_tokens ? Loads{features / share, 128} : Loads{features, 128 / share};
}

/// Time of all units on `clusters` clusters, in cycles of the tensor cores, if `rows` rows (of all experts)
/// are cut into `cuts` tiles. Whole waves of the mean tile: an inner block of w rows takes 4·w cycles for
/// each part, or what it takes to load it; each tile about 600 cycles more.
MB_BOTH float cost_of(int rows, int cuts, int units, int inner, int clusters, int parts, const Loads& loads) {
  if (cuts == 0) return 0;
  const float width = static_cast<float>(rows) / static_cast<float>(cuts);
  const float compute = static_cast<float>(4 * parts) * width,
              load = (loads.features + loads.token * width) / 28;
  return static_cast<float>(ceil_div(units, clusters)) *
         (static_cast<float>(inner) * (compute > load ? compute : load) + 600);
}

/// Whether the first product gathers its rows, instead of having them packed beforehand. It takes up to a
/// fifth longer then, and `pack` moves 4·H bytes beside its 4·H·F operations a row: that pays with narrow
/// experts. On an H200 it gains at 256 and breaks even at 512.
MB_BOTH constexpr bool gathers_rows(long long ffn) { return ffn <= 384; }

/// Whether dact sums what the scores' gradients are made of, so that combine need not read the experts'
/// outputs, 2·H bytes a row. It takes up to 15 % longer. On an H200 it gains at 768 and breaks even at 1024.
MB_BOTH constexpr bool sums_dots(long long ffn) { return ffn <= 1024; }
/// How many of them a row has: one for 64 features.
MB_BOTH constexpr int dots_of(int features) { return ceil_div(features, 64); }

/// How a block's shared memory is dealt (layout.cuh). usual: most of it to operands. short_sums: tiles follow
/// each other so fast that what they leave behind bounds them; more boxes for finished sums, one stage less
/// for operands. wide: room for tiles of kWideTileTokens, in fewer stages.
enum class Rings { usual, short_sums, wide };
/// The most tokens of a tile, of one part of features.
MB_BOTH constexpr int most_tokens(Rings rings) {
  return rings == Rings::wide ? kWideTileTokens : kTileTokens;
}

/// A product as the host foresees it: each expert has about `rows` rows, a square root more or less.
struct Forecast {
  float rows;
  int experts, features, inner;  ///< inner blocks
  int blocks;                    ///< that run at once
};

/// The least that cost_of() is for any candidate, one part of features.
inline float foreseen_cost(const Forecast& f, int tile_tokens) {
  const int size = cluster_of(f.features), feature_units = ceil_div(f.features, kTileFeatures * size);
  const float spread = std::sqrt(f.rows);
  float least = 0;
  for (int i = 0; i < kCandidates; ++i) {
    const auto most = static_cast<float>(candidate(i, tile_tokens));
    float tiles = 0;
    for (int j = -1; j <= 1; ++j)
      tiles +=
          std::ceil((f.rows + static_cast<float>(j) * spread) / most) * static_cast<float>(f.experts) / 3;
    const int cuts = static_cast<int>(std::ceil(tiles));
    const float cost = cost_of(static_cast<int>(f.rows) * f.experts, cuts, cuts * feature_units, f.inner,
                               f.blocks / size, 1, loads_of(1, size, false));
    if (i == 0 || cost < least) least = cost;
  }
  return least;
}

/// Whether wide tiles pay. They multiply in two instructions where others take one, from fewer stages, which
/// costs a tenth: tiles or a wave must be spared.
inline bool tiles_are_wide(const Forecast& f) {
  return 1.1f * foreseen_cost(f, kWideTileTokens) < foreseen_cost(f, kTileTokens);
}

/// Sums of few inner blocks, see Rings.
MB_BOTH constexpr bool sums_are_short(int inner_blocks) { return inner_blocks <= 3; }

/// Where unit `index` of an expert lies: down the tiles of tokens in a band of at most kBand, then to the
/// next features, so that the units under way at one time form a block of about equal sides and share what
/// they load in L2.
struct Place {
  int tokens, features;  ///< in tiles and in units
};
inline constexpr int kBand = 8;

MB_BOTH Place place_of(int index, int token_tiles, int feature_units) {
  const int band = index / (kBand * feature_units), within = index - band * kBand * feature_units;
  const int left = token_tiles - band * kBand, height = left < kBand ? left : kBand;
  return {band * kBand + within % height, within / height};
}

}  // namespace moebench::cuda::grouped
