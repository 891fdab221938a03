// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/error.h"
#include "project/calibration.h"

namespace moebench {
namespace {

/// 10 µs and 100 GB/s.
CalibrationInput two_tiers() {
  CalibrationInput input{
      .name = "here", .about = "two hosts", .gpu = "H200", .ranks_per_host = 4, .ranks = 8};
  input.how = "way store";
  for (const double bytes : {1e5, 1e6, 1e7}) {
    input.within_host.push_back({bytes, 10 + bytes / 100e3});
    input.between_hosts.push_back({bytes, 20 + bytes / 25e3});
  }
  return input;
}

TEST(Calibration, FindsTheLineThatExchangesLieOn) {
  const Fabric fabric = calibrated(two_tiers());
  EXPECT_NEAR(fabric.intra.achieved_gbs.value, 100, 1e-6);
  EXPECT_NEAR(fabric.intra.latency_us.value, 10, 1e-6);
  ASSERT_TRUE(fabric.inter);
  EXPECT_NEAR(fabric.inter->achieved_gbs.value, 25, 1e-6);
  EXPECT_NEAR(fabric.inter->latency_us.value, 20, 1e-6);
  EXPECT_NEAR(fabric.error_pct.value, 0, 1e-6);
  EXPECT_EQ(fabric.intra.achieved_gbs.provenance, Provenance::fitted);
}

TEST(Calibration, SaysByHowMuchTheLineMissesAnExchange) {
  CalibrationInput input = two_tiers();
  input.between_hosts.clear();
  input.within_host[1].us *= 1.2;
  const Fabric fabric = calibrated(input);
  EXPECT_FALSE(fabric.inter);
  EXPECT_GT(fabric.error_pct.value, 5);
  EXPECT_LT(fabric.error_pct.value, 20);
}

TEST(Calibration, GoesThroughTheOriginWhereAFirstBurstIsFree) {
  CalibrationInput input = two_tiers();
  for (MeasuredExchange& exchange : input.between_hosts) exchange.us = (exchange.bytes - 5e4) / 25e3;
  const Fabric fabric = calibrated(input);
  EXPECT_EQ(fabric.inter->latency_us.value, 0);
  // The weighted mean by hand: Σ(x/t)² / Σ(x/t) of x = 0.1, 1, 10 MB in 2, 38, 398 µs.
  EXPECT_NEAR(fabric.inter->achieved_gbs.value, 37.69, 0.01);
  EXPECT_NEAR(fabric.error_pct.value, 33.34, 0.01);
}

TEST(Calibration, IsAFabricFileThatCanBeRead) {
  const Fabric fabric = calibrated(two_tiers()), read = parse_fabric(json_of(fabric), "here.json");
  EXPECT_EQ(read.name, "here");
  EXPECT_EQ(read.gpu, "H200");
  EXPECT_EQ(read.gpus_per_node, 4);
  EXPECT_DOUBLE_EQ(read.intra.achieved_gbs.value, fabric.intra.achieved_gbs.value);
  EXPECT_DOUBLE_EQ(read.inter->latency_us.value, fabric.inter->latency_us.value);
}

TEST(Calibration, RefusesTooFewSizesAndTimesThatDoNotGrow) {
  CalibrationInput few = two_tiers(), flat = two_tiers();
  few.within_host.pop_back();
  EXPECT_THROW(calibrated(few), UsageError);
  for (MeasuredExchange& exchange : flat.within_host) exchange.us = 7;
  EXPECT_THROW(calibrated(flat), UsageError);
  EXPECT_THROW(calibrated({}), UsageError);
}

}  // namespace
}  // namespace moebench
