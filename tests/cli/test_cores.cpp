// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "cli/cores.h"

namespace moebench {
namespace {

TEST(HaveACoreEach, OneRankWithAThreadOnEachCoreHas) {
  EXPECT_TRUE(have_a_core_each(std::vector<RankCores>{{"a", 4, {0, 1, 2, 3}}}, "a"));
  EXPECT_FALSE(have_a_core_each(std::vector<RankCores>{{"a", 5, {0, 1, 2, 3}}}, "a"));
}

TEST(HaveACoreEach, RanksThatShareTheirCoresHaveNot) {
  const std::vector<RankCores> shared{{"a", 2, {0, 1}}, {"a", 2, {0, 1}}};
  EXPECT_FALSE(have_a_core_each(shared, "a"));
  const std::vector<RankCores> split{{"a", 1, {0, 1}}, {"a", 1, {0, 1}}};
  EXPECT_TRUE(have_a_core_each(split, "a"));
}

TEST(HaveACoreEach, RanksBoundToCoresOfTheirOwnHave) {
  const std::vector<RankCores> bound{{"a", 2, {0, 1}}, {"a", 2, {2, 3}}};
  EXPECT_TRUE(have_a_core_each(bound, "a"));
}

TEST(HaveACoreEach, OtherHostsDoNotCount) {
  const std::vector<RankCores> ranks{{"a", 2, {0, 1}}, {"b", 2, {0, 1}}, {"b", 2, {0, 1}}};
  EXPECT_TRUE(have_a_core_each(ranks, "a"));
  EXPECT_FALSE(have_a_core_each(ranks, "b"));
}

TEST(HaveACoreEach, OneRankAsksOnlyItself) {
  const auto world = make_self_world();
  EXPECT_FALSE(threads_have_a_core_each(*world, "here", usable_cores() + 1));
}

}  // namespace
}  // namespace moebench
