// SPDX-License-Identifier: Apache-2.0
// Intervals of series whose median is known: they hold it, and say when they cannot.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "bench/dependence.h"
#include "bench/statistics.h"

namespace moebench {
namespace {

using Series = std::vector<double>;
using Random = std::mt19937;

struct Tally {
  int covered = 0, drifts = 0, unknown = 0;
  double growth =
      1;  ///< of the interval's width over that of independent samples, the largest where lag 1 is small
};

/// What is said of 200 series whose true median is `median`.
Tally tally(double median, const std::function<Series(Random&)>& series) {
  Tally tally;
  for (unsigned seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    Series samples = series(random);
    const Summary summary = summarize(samples);
    const Dependence dependence = dependence_of(samples);
    tally.covered += summary.ci95_low <= median && median <= summary.ci95_high;
    tally.drifts += dependence.drift;
    tally.unknown += std::isinf(summary.ci95_low);
    if (dependence.lag1 >= kUncorrelated || std::isinf(summary.ci95_low)) continue;
    std::sort(samples.begin(), samples.end());
    const auto rank = static_cast<std::size_t>(median_interval_rank(summary.n));
    const double before = samples[samples.size() - rank] - samples[rank - 1];
    tally.growth = std::max(tally.growth, (summary.ci95_high - summary.ci95_low) / before);
  }
  return tally;
}

/// x' = a·x + noise; the median is 0.
Series chain(Random& random, int n, double a) {
  std::normal_distribution<double> noise;
  Series samples;
  double x = noise(random) / std::sqrt(1 - a * a);
  for (int i = 0; i < n; ++i) samples.push_back(x = a * x + noise(random));
  return samples;
}

/// 100 and 130 in turns, half of each `period`, with a spread of 2; the median of all is about 115.
Series load(Random& random, int n, double period) {
  std::normal_distribution<double> noise(0, 2);
  const double start = std::uniform_real_distribution(0.0, period)(random);
  Series samples;
  for (int i = 0; i < n; ++i)
    samples.push_back(100 + noise(random) + (std::fmod(i + start, period) < period / 2 ? 30 : 0));
  return samples;
}

TEST(Dependence, OfIndependentSamplesCoversAndCostsLittle) {
  for (const int n : {20, 60, 200, 1000}) {
    SCOPED_TRACE(n);
    const auto found = tally(std::log(2.0), [&](Random& random) {
      Series samples;
      for (int i = 0; i < n; ++i) samples.push_back(std::exponential_distribution<double>()(random));
      return samples;
    });
    EXPECT_GE(found.covered, 184);
    EXPECT_LE(found.drifts, 4);
    EXPECT_LE(found.growth, 1.2 + 1e-9);
  }
}

TEST(Dependence, OfCorrelatedSamplesStillCovers) {
  for (const double a : {0.3, 0.7, 0.9}) {
    SCOPED_TRACE(a);
    const auto found = tally(0, [&](Random& random) { return chain(random, 1000, a); });
    EXPECT_GE(found.covered, 184);
    EXPECT_LE(found.drifts, 8);
    EXPECT_EQ(found.unknown, 0);
  }
  EXPECT_LE(dependence_of([] {
              Random random(1);
              return chain(random, 1000, 0.9);
            }())
                .effective_n,
            200);
}

TEST(Dependence, CoversALoadThatComesFiveTimesOrMore) {
  for (const double periods : {5, 10, 20}) {
    SCOPED_TRACE(periods);
    const auto found = tally(115, [&](Random& random) { return load(random, 1000, 1000 / periods); });
    EXPECT_GE(found.covered, 190);
    EXPECT_LE(found.drifts, 10);
  }
}

TEST(Dependence, CallsALoadSlowerThanTheSeriesDrift) {
  for (const double periods : {1.0, 0.9}) {
    SCOPED_TRACE(periods);
    const auto found = tally(115, [&](Random& random) { return load(random, 1000, 1000 / periods); });
    EXPECT_GE(found.drifts, 190);
  }
}

TEST(Dependence, CallsARampDrift) {
  Random random(3);
  std::normal_distribution<double> noise;
  Series samples;
  for (int i = 0; i < 400; ++i) samples.push_back(100 + 0.01 * i + noise(random));
  EXPECT_TRUE(dependence_of(samples).drift);
}

TEST(Dependence, IsNoneOfFewOrEqualSamples) {
  EXPECT_EQ(dependence_of(Series{1, 2}).effective_n, 2);
  EXPECT_EQ(dependence_of(Series(100, 5.0)).effective_n, 100);
  EXPECT_FALSE(dependence_of(Series(100, 5.0)).drift);
  EXPECT_EQ(dependence_of(Series{}).effective_n, 0);
}

TEST(Dependence, OfAFewSamplesInARowLeavesNoInterval) {
  const Summary summary = summarize(Series{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  EXPECT_TRUE(std::isinf(summary.ci95_low)) << "they rise from first to last";
}

TEST(Bimodal, IsWhatGathersAroundTwoValues) {
  Random random(5);
  EXPECT_TRUE(is_bimodal(load(random, 400, 7.3)));
  EXPECT_FALSE(is_bimodal(chain(random, 400, 0)));
  Series even, near;
  for (int i = 0; i < 400; ++i) even.push_back(100 + i % 40), near.push_back(i % 2 ? 100.0 : 100.5);
  EXPECT_FALSE(is_bimodal(even));
  EXPECT_FALSE(is_bimodal(near)) << "less than 1 % apart";
  Series outliers(100, 100.0);
  outliers[50] = 1000;
  EXPECT_FALSE(is_bimodal(outliers));
  EXPECT_FALSE(is_bimodal(Series{1, 2, 1, 2}));
}

TEST(RankTest, OfCorrelatedSamplesIsLessSure) {
  Series a, b;
  for (int i = 0; i < 40; ++i) a.push_back(i), b.push_back(i + 12.5);
  EXPECT_LT(rank_test_p(a, b), 0.001);
  EXPECT_DOUBLE_EQ(rank_test_p(a, b, 40, 40), rank_test_p(a, b));
  EXPECT_GT(rank_test_p(a, b, 8, 8), 0.05);
}

}  // namespace
}  // namespace moebench
