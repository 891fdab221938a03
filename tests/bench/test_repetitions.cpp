// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "bench/repetitions.h"

namespace moebench {
namespace {

Record process(double median_us) {
  Record record;
  record.check = {.mode = "quick", .passed = true};
  std::vector<double> samples;
  for (int i = 0; i < 20; ++i) samples.push_back(median_us * (1 + (i % 2 ? 0.001 : -0.001)));
  record.time["total"] = {.device = summarize(samples), .samples = samples};
  record.stop.noise_target_pct = 1;
  return record;
}

TEST(ProcessInterval, HoldsTheMedianOfAllProcesses) {
  std::mt19937 random(1);
  std::lognormal_distribution<double> time(4, 0.1);
  int held = 0;
  for (int i = 0; i < 1000; ++i) {
    std::vector<double> medians;
    for (int k = 0; k < 5; ++k) medians.push_back(time(random));
    const auto [low, high] = process_interval(medians);
    held += low <= std::exp(4) && std::exp(4) <= high;
  }
  EXPECT_GE(held, 950);
  EXPECT_TRUE(std::isinf(process_interval(std::vector<double>{1, 2}).second));
}

TEST(Combine, TakesTheMiddleProcessWithAnIntervalOverAll) {
  const std::vector<Record> processes{process(104), process(100), process(98), process(102), process(97)};
  const Record record = combine(processes);
  const Summary& total = record.time.at("total").device;
  EXPECT_DOUBLE_EQ(total.p50, 100);
  EXPECT_LE(total.ci95_low, 97);
  EXPECT_GE(total.ci95_high, 104);
  EXPECT_EQ(record.repetitions.median_us.size(), 5u);
  EXPECT_NEAR(record.repetitions.between_pct, 2.86, 0.05);
  EXPECT_NEAR(record.repetitions.within_pct, 0.1, 0.02);
  EXPECT_NE(record.stop.unmet.find("noise between 5 processes"), std::string::npos) << record.stop.unmet;
}

TEST(Combine, OfAProcessWithoutATimeIsThatOne) {
  std::vector<Record> processes{process(100), process(100)};
  processes[1].status = Status::failed;
  processes[1].reason = "no memory";
  EXPECT_EQ(combine(processes).reason, "no memory");
}

}  // namespace
}  // namespace moebench
