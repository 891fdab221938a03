// SPDX-License-Identifier: Apache-2.0
// Which block of the grid computes which part of a grouped product: pure functions of the sizes, the same on host
// and device, so that a test can walk every block's work.
//
// A product is cut into tiles of kTileM x kTileN, and a tile's inner dimension into blocks of kTileK. The grid is
// persistent, one block per multiprocessor. Whole waves of tiles are dealt in turn (tile i to block i mod G:
// neighbours run together and share what they read in L2). What is left of the last wave would leave most blocks
// idle, so it and the wave before are cut evenly along the inner dimension instead ("stream-K", arXiv 2301.03598):
// a tile is then the sum of at most a few blocks' parts, added in the order of the blocks.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define MB_BOTH __host__ __device__ inline
#else
#define MB_BOTH inline
#endif

namespace moebench::cuda::grouped {

inline constexpr int kTileM = 128, kTileN = 256, kTileK = 64;

MB_BOTH int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// How the tiles of a product are dealt to `blocks` blocks of the grid.
struct Deal {
  int blocks;       ///< G
  int whole;        ///< tiles [0, whole) are computed by one block each, in turn
  int split_tiles;  ///< the rest is cut into as many inner blocks …
  int split_blocks; ///< … shared evenly by the first split_blocks blocks of the grid
  int inner;        ///< inner blocks of a tile

  /// Block b computes inner blocks [share(b), share(b + 1)) of the split tiles, counted from tile `whole`.
  MB_BOTH int share(int b) const {
    const auto all = static_cast<std::int64_t>(split_tiles) * inner;
    return b >= split_blocks ? static_cast<int>(all) : static_cast<int>(all * b / split_blocks);
  }
};

/// Splitting pays when the idle time of the last wave exceeds what adding up parts costs, about 8 inner blocks.
inline constexpr int kFixupCost = 8, kLeastShare = 4;

MB_BOTH Deal deal_of(int tiles, int inner, int blocks, bool may_split) {
  const int left = tiles % blocks;
  const auto idle = static_cast<std::int64_t>(blocks - left) * inner;
  if (!may_split || left == 0 || idle <= static_cast<std::int64_t>(kFixupCost) * blocks)
    return {blocks, tiles, 0, 1, inner};
  const int whole = tiles / blocks > 1 ? (tiles / blocks - 1) * blocks : 0, split = tiles - whole;
  const auto shares = static_cast<std::int64_t>(split) * inner / kLeastShare;
  const int sharing = shares < blocks ? static_cast<int>(shares) : blocks;
  const int least = split < blocks ? split : blocks;
  return {blocks, whole, split, sharing > least ? sharing : least, inner};
}

/// Where tile `index` of an expert lies, in tiles: down the rows of a band of at most kBand tiles, then to the next
/// columns, so that the tiles under way at one time form a block of about equal sides.
struct Place {
  int m, n;
};
inline constexpr int kBand = 16;

MB_BOTH Place place_of(int index, int m_tiles, int n_tiles) {
  const int band = index / (kBand * n_tiles), within = index - band * kBand * n_tiles;
  const int left = m_tiles - band * kBand, height = left < kBand ? left : kBand;
  return {band * kBand + within % height, within / height};
}

}  // namespace moebench::cuda::grouped
