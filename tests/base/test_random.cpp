// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/random.h"

namespace moebench {
namespace {

TEST(Random, IsThePublishedMixer) {
  // SplitMix64 from state 0: the first outputs of the reference implementation.
  EXPECT_EQ(mix(0, 0), 0xE220A8397B1DCDAFull);
  EXPECT_EQ(mix(0, 1), 0x6E789E6AA1B965F4ull);
}

TEST(Random, IsUniformOnItsInterval) {
  constexpr int kCount = 100000;
  double sum = 0, squares = 0;
  float min = 1, max = -1;
  for (int i = 0; i < kCount; ++i) {
    const float value = uniform_at(3, i);
    sum += value;
    squares += double{value} * value;
    min = std::min(min, value);
    max = std::max(max, value);
  }
  EXPECT_NEAR(sum / kCount, 0, 5 / std::sqrt(3.0 * kCount));
  EXPECT_NEAR(squares / kCount, 1 / 3.0, 0.005);
  EXPECT_GE(min, -1);
  EXPECT_LT(max, 1);
  EXPECT_LT(min, -0.999);
  EXPECT_GT(max, 0.999);
}

TEST(Random, FieldsOfDifferentKeysDiffer) {
  std::set<float> values;
  for (std::uint64_t key = 0; key < 100; ++key) values.insert(uniform_at(key, 0));
  EXPECT_GE(values.size(), 99u);
}

}  // namespace
}  // namespace moebench
