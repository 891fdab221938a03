// SPDX-License-Identifier: Apache-2.0
// How tiles are dealt to blocks of the grid: every part of every tile exactly once. Needs no GPU.
#include "backends/cuda/grouped/schedule.h"

#include <gtest/gtest.h>

#include <vector>

namespace moebench::cuda::grouped {
namespace {

TEST(GroupedSchedule, CoversEveryInnerBlockOfEveryTileOnce) {
  for (const int tiles : {0, 1, 2, 7, 100, 131, 132, 133, 200, 263, 264, 272, 1088, 5000})
    for (const int inner : {1, 2, 4, 16, 64, 300})
      for (const bool may_split : {false, true}) {
        SCOPED_TRACE(testing::Message() << tiles << " tiles of " << inner << " inner blocks");
        const Deal deal = deal_of(tiles, inner, 132, may_split);
        std::vector<int> seen(static_cast<std::size_t>(tiles * inner));
        for (int block = 0; block < deal.blocks; ++block) {
          for (int tile = block; tile < deal.whole; tile += deal.blocks)
            for (int i = 0; i < inner; ++i) ++seen[tile * inner + i];
          if (block < deal.split_blocks)
            for (int at = deal.share(block); at < deal.share(block + 1); ++at) ++seen[deal.whole * inner + at];
        }
        for (const int times : seen) ASSERT_EQ(times, 1);
      }
}

TEST(GroupedSchedule, GivesEverySharingBlockSomethingAndNoneMuchMore) {
  for (const int tiles : {1, 3, 40, 133, 272, 1088}) {
    const Deal deal = deal_of(tiles, 64, 132, true);
    ASSERT_GT(deal.split_tiles, 0) << tiles;
    const int least = deal.split_tiles * 64 / deal.split_blocks;
    for (int block = 0; block < deal.split_blocks; ++block) {
      EXPECT_GE(deal.share(block + 1) - deal.share(block), least);
      EXPECT_LE(deal.share(block + 1) - deal.share(block), least + 1);
    }
  }
}

TEST(GroupedSchedule, SplitsOnlyWhereTheLastWaveWouldIdle) {
  EXPECT_EQ(deal_of(132 * 3, 64, 132, true).split_tiles, 0);
  EXPECT_EQ(deal_of(132 * 3 - 1, 64, 132, true).split_tiles, 0);
  EXPECT_EQ(deal_of(132 * 2 + 8, 64, 132, true).split_tiles, 132 + 8);
  EXPECT_EQ(deal_of(132 * 2 + 8, 64, 132, false).split_tiles, 0);
}

TEST(GroupedSchedule, PlacesEveryTileOfAnExpertOnce) {
  for (const int m_tiles : {1, 15, 16, 17, 40})
    for (const int n_tiles : {1, 6, 16}) {
      std::vector<int> seen(static_cast<std::size_t>(m_tiles * n_tiles));
      for (int i = 0; i < m_tiles * n_tiles; ++i) {
        const Place place = place_of(i, m_tiles, n_tiles);
        ASSERT_LT(place.m, m_tiles);
        ASSERT_LT(place.n, n_tiles);
        ++seen[place.m * n_tiles + place.n];
      }
      for (const int times : seen) ASSERT_EQ(times, 1);
    }
}

}  // namespace
}  // namespace moebench::cuda::grouped
