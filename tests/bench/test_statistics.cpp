// SPDX-License-Identifier: Apache-2.0
// Statistics against values worked out by hand or with exact fractions.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "bench/statistics.h"

namespace moebench {
namespace {

using Samples = std::vector<double>;

TEST(Percentile, InterpolatesBetweenOrderStatistics) {
  const Samples sorted{10, 20, 30, 40};
  EXPECT_DOUBLE_EQ(percentile(sorted, 0), 10);
  EXPECT_DOUBLE_EQ(percentile(sorted, 25), 17.5);  // place 0.75 of 3
  EXPECT_DOUBLE_EQ(percentile(sorted, 50), 25);
  EXPECT_DOUBLE_EQ(percentile(sorted, 95), 38.5);
  EXPECT_DOUBLE_EQ(percentile(sorted, 100), 40);
}

TEST(Percentile, OfOneSampleIsThatSample) {
  const Samples one{7};
  for (const double p : {0.0, 5.0, 50.0, 100.0}) EXPECT_DOUBLE_EQ(percentile(one, p), 7);
}

TEST(Summary, OfNoSamplesIsZero) {
  const Summary summary = summarize({});
  EXPECT_EQ(summary.n, 0);
  EXPECT_EQ(summary.p50, 0);
  EXPECT_EQ(summary.ci95_high, 0);
}

TEST(Summary, MatchesAHandWorkedExample) {
  const Summary summary = summarize(Samples{4, 1, 9, 2, 4});  // unsorted: 1 2 4 4 9
  EXPECT_EQ(summary.n, 5);
  EXPECT_DOUBLE_EQ(summary.mean, 4);
  EXPECT_DOUBLE_EQ(summary.stdev, std::sqrt(38.0 / 4));  // 9 + 4 + 0 + 0 + 25
  EXPECT_DOUBLE_EQ(summary.min, 1);
  EXPECT_DOUBLE_EQ(summary.max, 9);
  EXPECT_DOUBLE_EQ(summary.p5, 1.2);
  EXPECT_DOUBLE_EQ(summary.p25, 2);
  EXPECT_DOUBLE_EQ(summary.p50, 4);
  EXPECT_DOUBLE_EQ(summary.p75, 4);
  EXPECT_DOUBLE_EQ(summary.p95, 8);
  EXPECT_DOUBLE_EQ(summary.p99, 8.8);
  EXPECT_DOUBLE_EQ(summary.noise_pct, 100 * 1.4826 * 2 / 4);  // deviations 0 0 2 3 5
}

TEST(Summary, OfOneSampleHasNoSpreadAndNoInterval) {
  const Summary summary = summarize(Samples{3});
  EXPECT_EQ(summary.stdev, 0);
  EXPECT_EQ(summary.noise_pct, 0);
  EXPECT_EQ(summary.ci95_low, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(summary.ci95_high, std::numeric_limits<double>::infinity());
}

TEST(Summary, OfZerosHasNoNoise) {
  const Summary summary = summarize(Samples(10, 0.0));
  EXPECT_EQ(summary.noise_pct, 0);
  EXPECT_EQ(median_error_pct(summary), 0);
}

TEST(Summary, SpreadAroundAMedianOfZeroIsInfiniteNotNan) {
  EXPECT_EQ(summarize(Samples{-1, 0, 1}).noise_pct, std::numeric_limits<double>::infinity());
}

TEST(Summary, RefusesWhatIsNoNumber) {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const Samples samples{1, bad, 3};
    EXPECT_THROW(summarize(samples), Error);
    EXPECT_THROW(median_error_pct(samples), Error);
    EXPECT_THROW(rank_test_p(samples, Samples{1, 2}), Error);
    EXPECT_THROW(rank_test_p(Samples{1, 2}, samples), Error);
  }
}

// Ranks from exact fractions of binomial tails; of 1001 samples the approximation takes one less than 470.
TEST(MedianInterval, HasTheExactRank) {
  const std::vector<std::pair<int, int>> expected{
      {0, 0},  {1, 0},  {5, 0},  {6, 1},   {8, 1},   {9, 2},    {11, 2},     {12, 3},     {15, 4},
      {17, 5}, {20, 6}, {25, 8}, {30, 10}, {50, 18}, {100, 40}, {1000, 469}, {1001, 469}, {2000, 956}};
  for (const auto& [n, rank] : expected) EXPECT_EQ(median_interval_rank(n), rank) << n;
}

TEST(MedianInterval, OfSixSamplesIsTheirRange) {
  const Summary summary = summarize(Samples{60, 10, 30, 20, 50, 40});
  EXPECT_DOUBLE_EQ(summary.ci95_low, 10);
  EXPECT_DOUBLE_EQ(summary.ci95_high, 60);
  EXPECT_DOUBLE_EQ(median_error_pct(summary), 100 * 25.0 / 35);
}

TEST(MedianInterval, OfTwelveSamplesIsTheThirdToTheTenth) {
  const Samples samples{7, 2, 11, 5, 9, 1, 12, 4, 8, 3, 10, 6};  // in no order
  const Summary summary = summarize(samples);
  EXPECT_DOUBLE_EQ(summary.ci95_low, 3);
  EXPECT_DOUBLE_EQ(summary.ci95_high, 10);
  EXPECT_DOUBLE_EQ(median_error_pct(samples), 100 * 3.5 / 6.5);
}

TEST(MedianInterval, IsUnknownBelowSixSamples) {
  EXPECT_EQ(median_error_pct(Samples{1, 1, 1, 1, 1}), std::numeric_limits<double>::infinity());
  EXPECT_EQ(median_error_pct(Samples{}), std::numeric_limits<double>::infinity());
}

// U = 0 of 9, variance 3·3·7/12 = 5.25, z = (4.5 - 0.5)/√5.25.
TEST(RankTest, MatchesAHandWorkedExample) {
  EXPECT_NEAR(rank_test_p(Samples{1, 2, 3}, Samples{4, 5, 6}), 0.0808555983700523, 1e-12);
}

// Ranks of a: 1 3 3 6, U = 3, variance 16/12·(9 - 48/56), z = (5 - 0.5)/√10.857.
TEST(RankTest, CorrectsForTies) {
  EXPECT_NEAR(rank_test_p(Samples{1, 2, 2, 3}, Samples{2, 3, 3, 4}), 0.17203370892182296, 1e-12);
}

TEST(RankTest, DoesNotDependOnTheSides) {
  const Samples a{1, 5, 2, 8, 3}, b{4, 4, 9, 7, 10, 11};
  EXPECT_DOUBLE_EQ(rank_test_p(a, b), rank_test_p(b, a));
}

TEST(RankTest, FindsNoDifferenceWhereThereIsNone) {
  EXPECT_EQ(rank_test_p(Samples{2, 2, 2}, Samples{2, 2, 2, 2}), 1);
  EXPECT_EQ(rank_test_p(Samples{}, Samples{1}), 1);
  EXPECT_EQ(rank_test_p(Samples{1, 2, 3}, Samples{1, 2, 3}), 1);
}

}  // namespace
}  // namespace moebench
