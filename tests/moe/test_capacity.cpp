// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/error.h"
#include "moe/capacity.h"
#include "moe/load.h"

namespace moebench {
namespace {

const Shape kShape{.tokens = 4096, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2};

std::int64_t rows(double factor, std::int64_t least = 0, Shape shape = kShape) {
  return Capacity{.factor = factor, .min_rows = least}.rows_of(shape);
}

TEST(Capacity, IsTheEvenShareTimesTheFactorRoundedUp) {
  EXPECT_EQ(rows(1), 1024);
  EXPECT_EQ(rows(1.25), 1280);
  EXPECT_EQ(rows(1.0001), 1025);
  EXPECT_EQ(rows(0.0001), 1);
  EXPECT_EQ(rows(1, 2000), 2000);
}

TEST(Capacity, IsNoMoreThanTheTokensOfTheGroup) {
  EXPECT_EQ(rows(100), 4096);
  EXPECT_EQ(rows(1e300), 4096);
  EXPECT_EQ(rows(1, 1 << 20), 4096);
}

TEST(Capacity, CountsTheTokensOfARankIfNoGroupIsGiven) {
  Shape shape = kShape;
  shape.ranks = 4;
  EXPECT_EQ(rows(1, 0, shape), 256);
  EXPECT_EQ((Capacity{.factor = 1, .group = 512}.rows_of(shape)), 128);
  EXPECT_EQ((Capacity{.factor = 1, .group = 512}.rows_of(kShape)), 128);
}

TEST(Capacity, IsRefusedWhereAGroupWouldBeCut) {
  Shape shape = kShape;
  EXPECT_EQ(why_not({.factor = 1, .group = 512}, shape), "");
  shape.ranks = 4;
  EXPECT_EQ(why_not({.factor = 1, .group = 1024}, shape), "");
  EXPECT_EQ(
      why_not({.factor = 1, .group = 2048}, shape),
      "gate-group 2048 does not divide the 1024 tokens of rank 0: a group would be cut; use a divisor of "
      "the tokens per rank");
  shape.tokens = 10;
  EXPECT_EQ(why_not({.factor = 1}, shape),
            "gate-group is the tokens of a rank, and 10 tokens on 4 ranks are not dealt evenly; give "
            "--gate-group");
  EXPECT_EQ(why_not({.factor = 1, .group = 1}, shape), "");
  EXPECT_EQ(why_not({.group = 2048}, shape), "") << "nothing is limited";
  shape.tokens = 0;
  EXPECT_EQ(why_not({.factor = 1}, shape), "");
}

TEST(Capacity, ReadsNoneAndNumbersAboveZero) {
  EXPECT_EQ(parse_capacity("none"), 0);
  EXPECT_EQ(parse_capacity("1.25"), 1.25);
  for (const char* word : {"0", "-1", "inf", "nan", "much", ""})
    EXPECT_THROW(parse_capacity(word), UsageError) << word;
  EXPECT_EQ(capacity_text({.factor = 1.25}), "1.25");
  EXPECT_EQ(capacity_text({}), "none");
  for (const char* word : {"position", "probs", "choice", "priority"})
    EXPECT_EQ(name_of(parse_drop_policy(word)), word);
}

TEST(Drops, AreCountedWithTheirWeight) {
  const std::int32_t expert_of[] = {1, -1, -1, -1, 0, 2};
  const float score[] = {0.75f, 0.25f, 0.5f, 0.5f, 1.0f, 0.0f};
  const Drops drops = count_drops({.experts = 8, .top_k = 2}, expert_of, score);
  EXPECT_EQ(drops.slots, 6);
  EXPECT_EQ(drops.dropped, 3);
  EXPECT_EQ(drops.lost_tokens, 1);
  EXPECT_DOUBLE_EQ(drops.weight, 3);
  EXPECT_DOUBLE_EQ(drops.kept_weight, 1.75);
}

}  // namespace
}  // namespace moebench
