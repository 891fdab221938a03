// SPDX-License-Identifier: Apache-2.0
// How a grouped product is cut into tiles: pure functions of the sizes, the same on host and device, so that
// a test can walk all work.
//
// A tile is 128 features (columns of the weights) by up to 256 tokens (rows of an expert). Tokens lie along
// the side of the matrix instruction that takes any multiple of 16, so an expert's rows are cut into equal
// tiles that waste fewer than 16 rows each, not up to 127. Two neighbouring blocks of the grid, a cluster,
// work on the same tokens and neighbouring features, and share the tokens' rows. The grid is persistent: unit
// i (the tiles of a cluster) goes to cluster i modulo the clusters.
#pragma once

#ifdef __CUDACC__
#define MB_BOTH __host__ __device__ inline
#else
#define MB_BOTH inline
#endif

namespace moebench::cuda::grouped {

inline constexpr int kTileFeatures = 128, kTileTokens = 256, kTileInner = 64;
inline constexpr int kTokenStep = 16;  ///< widths of tiles are multiples of it

MB_BOTH constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
MB_BOTH constexpr int round_up(int a, int b) { return ceil_div(a, b) * b; }

/// `count` rows in `tiles` tiles of `width` rows, the last one perhaps fewer, none without. `most` is a
/// multiple of kTokenStep.
struct Cut {
  int tiles, width;
};
MB_BOTH Cut cut_of(int count, int most) {
  const int tiles = ceil_div(count, most);
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

/// Time of all units on `clusters` clusters of `size` blocks, in cycles of the tensor cores, if `rows` rows
/// (of all experts) are cut into `cuts` tiles by `features` features. Whole waves of the mean tile: an inner
/// block of w rows takes 4·w cycles, or what it takes to load 128 features and a share of w rows; each tile
/// about 600 cycles more.
MB_BOTH float cost_of(int rows, int cuts, int features, int inner, int clusters, int size) {
  if (cuts == 0) return 0;
  const int units = cuts * ceil_div(features, size * kTileFeatures);
  const float width = static_cast<float>(rows) / static_cast<float>(cuts);
  const float compute = 4 * width,
              load = (128.0f * kTileFeatures + 128.0f / static_cast<float>(size) * width) / 28;
  return static_cast<float>(ceil_div(units, clusters)) *
         (static_cast<float>(inner) * (compute > load ? compute : load) + 600);
}

/// Whether tiles follow each other so fast that what they leave behind bounds them: sums of few inner blocks.
/// Then there are more boxes for finished sums, and one stage less for operands.
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
