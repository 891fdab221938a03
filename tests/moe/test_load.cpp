// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace moebench
