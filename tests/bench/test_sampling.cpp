// SPDX-License-Identifier: Apache-2.0
// Sampling ends for the right reason and says which condition was not met.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "bench/sampling.h"

namespace moebench {
namespace {

/// Feeds `sample(i)` in the rounds that are asked for until it is done; fails if that takes more than `most`
/// samples.
template <class Sample>
Stopping feed(const Sampling& sampling, Sample sample, int max = 2'000'000) {
  Stopping stopping(sampling);
  for (int i = 0; !stopping.done();) {
    const int round = stopping.next_round();
    EXPECT_GE(round, 1);
    for (int j = 0; j < round; ++j) stopping.add(sample(i++));
    if (i > max) {
      ADD_FAILURE() << "not done after " << i << " samples";
      break;
    }
  }
  return stopping;
}

TEST(Stopping, TakesExactlyTheSamplesAskedFor) {
  const auto stop = feed({.iters = 7, .max_time_s = 1e-9}, [](int) { return 1e6; }).verdict();
  EXPECT_EQ(stop.samples, 7);
  EXPECT_EQ(stop.reason, "samples");
  EXPECT_EQ(stop.unmet, "");
}

TEST(Stopping, SaysThatAFixedNumberWasTooFewForTheTarget) {
  const auto stop = feed({.iters = 4}, [](int) { return 1.0; }).verdict();
  EXPECT_EQ(stop.unmet, "noise unknown with 4 samples > target 1 %");
}

TEST(Stopping, EndsWithoutNoiseOnceTimeAndSamplesAreEnough) {
  const Sampling sampling{.min_time_s = 0.2, .min_samples = 10};
  const auto slow = feed(sampling, [](int) { return 50e3; }).verdict();  // 4 would fill the time
  EXPECT_EQ(slow.reason, "noise");
  EXPECT_EQ(slow.samples, 10);
  const auto fast = feed(sampling, [](int) { return 1e3; }).verdict();
  EXPECT_EQ(fast.samples, 200);
  EXPECT_EQ(fast.unmet, "");
}

TEST(Stopping, EndsByTimeAndNamesTheNoise) {
  // Half of the samples 90, half 110 ms: the interval of the median spans both.
  const auto stop = feed({.max_time_s = 10}, [](int i) { return i % 2 ? 90e3 : 110e3; }).verdict();
  EXPECT_EQ(stop.reason, "time");
  EXPECT_EQ(stop.unmet, "noise 10 % > target 1 %");
  EXPECT_EQ(stop.noise_target_pct, 1.0);
  EXPECT_NEAR(stop.samples, 100, 10);
}

TEST(Stopping, TakesOneSampleOfACaseSlowerThanItsBudget) {
  const auto stop = feed({.max_time_s = 10}, [](int) { return 60e6; }).verdict();
  EXPECT_EQ(stop.samples, 1);
  EXPECT_EQ(stop.reason, "time");
  EXPECT_EQ(stop.unmet, "1 samples < 10, noise unknown with 1 samples > target 1 %");
}

TEST(Stopping, EndsThoughTheClockStandsStill) {
  const auto stop = feed({}, [](int) { return 0.0; }).verdict();
  EXPECT_EQ(stop.reason, "samples");
}

TEST(Stopping, TakesCorrelatedSamplesForFewerThanThereAre) {
  // Each of 500 values 40 times over: 20,000 samples that know the median as well as 500.
  const auto slow = [](int i) {
    std::minstd_rand random(7919u * static_cast<unsigned>(i / 40 + 1));
    random.discard(3);
    return 90.0 + static_cast<double>(random() % 2000) / 100;
  };
  const Sampling sampling{.min_time_s = 0.02, .max_time_s = 2};
  const auto correlated = feed(sampling, slow);
  const auto independent = feed(sampling, [&](int i) { return slow(40 * i); });
  EXPECT_GT(correlated.samples().size(), 5 * independent.samples().size());
  const auto stop = correlated.verdict();
  ASSERT_FALSE(stop.flags.empty());
  EXPECT_EQ(stop.flags[0], "correlated");
  EXPECT_GT(stop.lag1, 0.9);
  EXPECT_LT(stop.effective_n, 0.1 * stop.samples);
  EXPECT_TRUE(independent.verdict().flags.empty());
}

TEST(Stopping, RefusesTimesThatAreNoTimes) {
  Stopping stopping({});
  EXPECT_THROW(stopping.add(std::nan("")), Error);
  EXPECT_THROW(stopping.add(HUGE_VAL), Error);
  EXPECT_THROW(stopping.add(-1), Error);
  EXPECT_TRUE(stopping.samples().empty());
}

TEST(Stopping, IsNeverDoneBeforeTheFirstSample) {
  EXPECT_FALSE(Stopping({.max_time_s = 0}).done());
  EXPECT_FALSE(Stopping({.min_time_s = 0, .min_samples = 0}).done());
}

TEST(Stopping, IsAPureFunctionOfTheSamples) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    const auto sample = [seed](int i) {
      std::minstd_rand random(seed * 7919 + static_cast<unsigned>(i));
      random.discard(3);
      return 100.0 + static_cast<double>(random() % 1000) / 10;
    };
    const auto a = feed({.max_time_s = 0.5}, sample), b = feed({.max_time_s = 0.5}, sample);
    EXPECT_EQ(a.samples().size(), b.samples().size());
    EXPECT_EQ(a.verdict().unmet, b.verdict().unmet);
  }
}

TEST(Stopping, HoldsWhatItsVerdictSays) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const double scale = std::exp(std::uniform_real_distribution(0.0, 12.0)(random));
    const double spread = std::uniform_real_distribution(0.0, 0.5)(random);
    const Sampling sampling{.min_time_s = 0.01, .max_time_s = 0.3, .noise_pct = 1.5};
    const auto stopping = feed(sampling, [&](int) {
      return scale * (1 + spread * std::uniform_real_distribution(0.0, 1.0)(random));
    });
    const auto stop = stopping.verdict();
    double total_us = 0;
    for (const double sample : stopping.samples()) total_us += sample;
    EXPECT_EQ(static_cast<std::size_t>(stop.samples), stopping.samples().size());
    if (stop.reason == "noise") {
      EXPECT_LE(median_error_pct(stopping.samples()), 1.5);
      EXPECT_GE(stop.samples, sampling.min_samples);
      EXPECT_GE(total_us, 0.01e6);
      EXPECT_EQ(stop.unmet, "");
    } else {
      EXPECT_EQ(stop.reason, "time");
      EXPECT_GE(total_us, 0.3e6);
      EXPECT_NE(stop.unmet, "");
    }
    EXPECT_LE(total_us, 0.3e6 * 1.3 + scale * 2);  // a round does not run far past the budget
  }
}

TEST(Stopping, AsksForGrowingRounds) {
  Stopping stopping({.min_time_s = 0, .max_time_s = 1e6});
  EXPECT_EQ(stopping.next_round(), 1);
  for (int i = 0; i < 800; ++i) stopping.add(i % 2 ? 1e3 : 2e3);
  EXPECT_EQ(stopping.next_round(), 100);
}

TEST(CheckMode, IsReadAndNamed) {
  for (const CheckMode mode : {CheckMode::none, CheckMode::quick, CheckMode::full})
    EXPECT_EQ(parse_check(name_of(mode)), mode);
  EXPECT_THROW(parse_check("ful"), UsageError);
}

}  // namespace
}  // namespace moebench
