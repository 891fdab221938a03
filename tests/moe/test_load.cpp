// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "moe/load.h"

namespace moebench {
namespace {

TEST(Load, DescribesAnUnevenRouting) {
  const std::vector<std::int64_t> rows{0, 10, 2, 4};
  const LoadStats stats = load_stats(rows);
  EXPECT_EQ(stats.min, 0);
  EXPECT_EQ(stats.max, 10);
  EXPECT_EQ(stats.median, 3);
  EXPECT_EQ(stats.mean, 4);
  EXPECT_EQ(stats.imbalance, 1.5);  // 10/4 - 1
  EXPECT_EQ(stats.empty, 1);
}

TEST(Load, IsPerfectWithoutRowsOrExperts) {
  EXPECT_EQ(load_stats(std::vector<std::int64_t>{0, 0}).imbalance, 0);
  EXPECT_EQ(load_stats({}).max, 0);
}

TEST(LoadStats, TellHowUnevenTheWholeIs) {
  const LoadStats even = load_stats(std::vector<std::int64_t>{5, 5, 5, 5}),
                  one = load_stats(std::vector<std::int64_t>{8, 0, 0, 0});
  EXPECT_EQ(even.cv, 0);
  EXPECT_DOUBLE_EQ(even.entropy, 1);
  EXPECT_DOUBLE_EQ(one.cv, std::sqrt(3.0));
  EXPECT_EQ(one.entropy, 0);
  EXPECT_NEAR(load_stats(std::vector<std::int64_t>{4, 4, 0, 0}).entropy, 0.5, 1e-15);
}

TEST(TokenLoad, CountsRowsDropsAndDistinctRanks) {
  const Shape shape{.tokens = 3, .hidden = 1, .ffn = 1, .experts = 8, .top_k = 3, .ranks = 4, .ep = 4};
  const std::vector<std::int32_t> experts{0, 1, 7, -1, 2, 3, 4, 0, 5};
  const TokenLoad load = token_load(shape, experts);
  EXPECT_EQ(load.rows, (std::vector<std::int64_t>{2, 1, 1, 1, 1, 1, 0, 1}));
  EXPECT_EQ(load.dropped, 1);
  EXPECT_EQ(load.ranks, 2 + 1 + 2);
}

}  // namespace
}  // namespace moebench
