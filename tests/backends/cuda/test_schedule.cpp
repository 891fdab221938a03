// SPDX-License-Identifier: Apache-2.0
// How grouped GEMMs are cut into tiles: every row and feature exactly once, and no more waste than promised. Needs
// no GPU.
#include <gtest/gtest.h>

#include <vector>

#include "backends/cuda/grouped/schedule.h"

namespace moebench::cuda::grouped {
namespace {

TEST(GroupedSchedule, CutsRowsIntoTilesThatAreNeitherEmptyNorTooWide) {
  for (const int max : {16, 48, 128, 176, 256})
    for (int count = 0; count < 1200; ++count) {
      const RowSplit split = split_rows(count, max);
      SCOPED_TRACE(testing::Message() << count << " rows, at most " << max);
      ASSERT_LE(split.width, max);
      ASSERT_EQ(split.width % kTileNStep, 0);
      ASSERT_GE(split.tiles * split.width, count);
      if (count > 0) {
        ASSERT_LT((split.tiles - 1) * split.width, count);
      }
    }
}

TEST(GroupedSchedule, WastesFewerThanSixteenRowsPerTile) {
  for (int count = 1; count < 3000; count += 7) {
    const RowSplit split = split_rows(count, kTileN);
    EXPECT_LT(split.tiles * split.width - count, kTileNStep * split.tiles) << count;
  }
}

TEST(GroupedSchedule, OffersMultiplesOfTheStepOnly) {
  for (const int tile : {kTileN, kTileN / 2})
    for (int i = 0; i < kCandidates; ++i) {
      EXPECT_GT(candidate(i, tile), 0);
      EXPECT_LE(candidate(i, tile), tile);
      EXPECT_EQ(candidate(i, tile) % kTileNStep, 0);
    }
}

TEST(GroupedSchedule, CutsWithEveryCandidateIntoTilesThatAreNotEmpty) {
  for (const int tile : {kTileN, kTileN / 2})
    for (int i = 0; i < kCandidates; ++i)
      for (int count = 1; count < 2100; ++count) {
        const RowSplit split = split_rows(count, candidate(i, tile));
        ASSERT_LE(split.width, candidate(i, tile));
        ASSERT_LT((split.tiles - 1) * split.width, count) << count << " rows, at most " << candidate(i, tile);
      }
}

TEST(GroupedSchedule, CutsInPairsThatBeginBeforeTheEnd) {
  for (const int max : {16, 48, 128, 256})
    for (int count = 0; count < 1200; ++count) {
      const RowSplit split = split_rows(count, max, 2);
      SCOPED_TRACE(testing::Message() << count << " rows, at most " << max);
      ASSERT_LE(split.width, max);
      ASSERT_EQ(split.width % kTileNStep, 0);
      ASSERT_EQ(split.tiles % 2, 0);
      ASSERT_GE(split.tiles * split.width, count);
      if (count > 0) {
        ASSERT_LT((split.tiles - 2) * split.width, count);
      }
    }
}

TEST(GroupedSchedule, CallsSumsOfTwoOrThreeBlocksShort) {
  EXPECT_TRUE(k_is_short(2));
  EXPECT_FALSE(k_is_short(4));
}

TEST(GroupedSchedule, SavesBytesAroundNarrowExpertsOnly) {
  EXPECT_TRUE(gathers_rows(256) && computes_dscore_partials(256));
  EXPECT_TRUE(!gathers_rows(768) && computes_dscore_partials(768));
  EXPECT_FALSE(gathers_rows(4096) || computes_dscore_partials(4096));
}

TEST(GroupedSchedule, PrefersTheWidthThatFillsItsWaves) {
  const auto cost = [](int cuts) {
    return cycles_of(8192, cuts, cuts * 4, 64, {66}, 1, loads_of(1, 2, false));
  };
  // 8 experts of about 1024 rows, 1024 features, 66 clusters of 2: 4 units of features. 36 tiles (half of the experts
  // have a fifth) take three waves of 228 rows; 48 take three of 171.
  EXPECT_LT(cost(48), cost(36));
  // With exactly 1024 rows each, 32 tiles of 256 fill two waves.
  EXPECT_LT(cost(32), cost(48));
}

TEST(GroupedSchedule, GivesEveryUnitToOneClusterWhenSomeBeginLate) {
  for (const Clusters& clusters : {Clusters{66}, {66, 8, 1e5}, {66, 8, 1}, {3, 2, 5e4}, {1}})
    for (const int units : {0, 1, 58, 66, 200, 1027}) {
      const float cycles_of_tile = 2e4;
      const int early_rounds = clusters.early_rounds(cycles_of_tile),
                rounds = clusters.rounds(units, cycles_of_tile);
      std::vector<int> times(static_cast<std::size_t>(units));
      for (int cluster = 0; cluster < clusters.all; ++cluster) {
        int tiles = 0;
        for (UnitWalk walk(clusters, cluster, early_rounds); walk.unit < units;
             walk.advance(clusters), ++tiles)
          ++times[static_cast<std::size_t>(walk.unit)];
        const int late = cluster < clusters.early() ? 0 : early_rounds;
        ASSERT_LE(tiles > 0 ? late + tiles : 0, rounds) << units << " units, cluster " << cluster;
      }
      for (const int count : times) ASSERT_EQ(count, 1) << units << " units";
    }
}

TEST(GroupedSchedule, TakesNoLongerForLateClustersThanWithoutThem) {
  for (const int units : {1, 58, 66, 200, 1027})
    for (const float late_cycles : {1.0f, 1e4f, 1e6f}) {
      const Clusters some_late{66, 8, late_cycles}, fewer{58}, all{66};
      EXPECT_LE(some_late.rounds(units, 2e4f), fewer.rounds(units, 2e4f));
      EXPECT_GE(some_late.rounds(units, 2e4f), all.rounds(units, 2e4f));
    }
}

TEST(GroupedSchedule, CountsNarrowTilesAsBoundByLoads) {
  const auto cost = [](int width) {
    return cycles_of(width * 66, 66, 66, 64, {66}, 1, loads_of(1, 2, false));
  };
  const float narrow = cost(16), wide = cost(128);
  EXPECT_GT(narrow, wide / 2);
}

TEST(GroupedSchedule, IsWideWhereThatSparesAWaveOrManyTiles) {
  const auto wide = [](float rows, int experts, int features, int inner) {
    return tiles_are_wide(
        {.rows = rows, .experts = experts, .features = features, .k_blocks = inner / kTileK, .blocks = 132});
  };
  EXPECT_TRUE(wide(256, 32, 4096, 1024));  // half of the experts have a few rows more than a tile
  EXPECT_TRUE(wide(256, 32, 1024, 4096));
  EXPECT_TRUE(wide(1024, 8, 1024, 4096));   // two waves, not three
  EXPECT_FALSE(wide(1024, 8, 4096, 1024));  // eight, not nine
  EXPECT_FALSE(wide(128, 64, 4096, 1024));  // one tile in any case
  EXPECT_FALSE(wide(2048, 8, 4096, 14336));
  EXPECT_TRUE(wide(255, 12, 1032, 192));  // what the device tests rely on
}

TEST(GroupedSchedule, LoadsWhatBlocksDoNotShare) {
  EXPECT_EQ(loads_of(1, 2, false).features, 2 * loads_of(1, 2, true).features);
  EXPECT_EQ(2 * loads_of(2, 2, false).token, loads_of(2, 2, true).token);
  EXPECT_EQ(loads_of(1, 1, false).token, loads_of(1, 1, true).token);
}

TEST(GroupedSchedule, PlacesEveryUnitOfAnExpertOnce) {
  for (const int token_tiles : {1, 7, 8, 9, 40})
    for (const int feature_units : {1, 6, 16}) {
      std::vector<int> seen(static_cast<std::size_t>(token_tiles * feature_units));
      for (int i = 0; i < token_tiles * feature_units; ++i) {
        const TileCoord place = tile_coord_of(i, token_tiles, feature_units);
        ASSERT_LT(place.tokens, token_tiles);
        ASSERT_LT(place.features, feature_units);
        ++seen[place.tokens * feature_units + place.features];
      }
      for (const int times : seen) ASSERT_EQ(times, 1);
    }
}

}  // namespace
}  // namespace moebench::cuda::grouped
