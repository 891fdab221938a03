// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "bench/roofline.h"

namespace moebench {
namespace {

const Peaks kPeaks{.gemm_tflops = 1, .copy_gbs = 100, .launch_us = 2, .link_gbs = 10, .link_latency_us = 5};

TEST(Roofline, TakesTheLongerOfArithmeticAndMemory) {
  const Floor compute = floor_of({.flops = 1e9, .bytes = 1e6}, kPeaks);  // 1000 us against 10 us
  EXPECT_DOUBLE_EQ(compute.us, 1000);
  EXPECT_EQ(compute.bound, Bound::compute);
  const Floor memory = floor_of({.flops = 1e6, .bytes = 1e7}, kPeaks);  // 1 us against 100 us
  EXPECT_DOUBLE_EQ(memory.us, 100);
  EXPECT_EQ(memory.bound, Bound::memory);
}

TEST(Roofline, AddsWhatCannotOverlap) {
  const Floor floor =
      floor_of({.bytes = 1e6, .link_bytes = 1e6, .messages = 2}, kPeaks);  // 10 + 100 + 2·5 us
  EXPECT_DOUBLE_EQ(floor.us, 120);
  EXPECT_EQ(floor.bound, Bound::link);
}

TEST(Roofline, NamesLatencyWhereStartingTakesLongerThanDoing) {
  EXPECT_EQ(floor_of({.link_bytes = 10, .messages = 1}, kPeaks).bound, Bound::latency);
  const Floor tiny = floor_of({.bytes = 100}, kPeaks);
  EXPECT_EQ(tiny.bound, Bound::latency);
  EXPECT_DOUBLE_EQ(tiny.us, 2);
}

TEST(Roofline, HasNoFloorForNoWorkOrNoCeilings) {
  EXPECT_EQ(floor_of({}, kPeaks).us, 0);
  EXPECT_EQ(floor_of({.flops = 1e9, .bytes = 1e9, .link_bytes = 1e9}, {}).us, 0);
  EXPECT_EQ(limit_pct(10, 0), 0);
  EXPECT_EQ(limit_pct(10, 40), 25);
}

}  // namespace
}  // namespace moebench
