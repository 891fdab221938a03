// SPDX-License-Identifier: Apache-2.0
// Against values counted by hand: all signs, all divisions.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "bench/shift_tests.h"

namespace moebench {
namespace {

using Values = std::vector<double>;

TEST(PairedShift, CountsAllSigns) {
  const Shift all_up = paired_shift(Values{1, 2, 3, 4, 5});
  EXPECT_DOUBLE_EQ(all_up.p, 2.0 / 32);
  EXPECT_DOUBLE_EQ(all_up.min_p, 2.0 / 32);
  EXPECT_DOUBLE_EQ(all_up.estimate, 3);
  // Sums of ranks with a minus sign up to 1: {} and {1}.
  EXPECT_DOUBLE_EQ(paired_shift(Values{-1, 2, 3, 4, 5}).p, 4.0 / 32);
  EXPECT_DOUBLE_EQ(paired_shift(Values{1, -1.5, 2, -2.5}).p, 1.0 * 14 / 16);
}

TEST(PairedShift, NeedsSixPairsForAnInterval) {
  EXPECT_TRUE(std::isinf(paired_shift(Values{1, 2, 3, 4, 5}).low));
  EXPECT_FALSE(std::isinf(paired_shift(Values{1, 2, 3, 4, 5}).low90));
  const Shift six = paired_shift(Values{1, 2, 3, 4, 5, 6});
  EXPECT_DOUBLE_EQ(six.low, 1);
  EXPECT_DOUBLE_EQ(six.high, 6);
}

TEST(UnpairedShift, CountsAllDivisions) {
  EXPECT_DOUBLE_EQ(unpaired_shift(Values{1, 2, 3}, Values{4, 5, 6}).p, 2.0 / 20);
  EXPECT_DOUBLE_EQ(unpaired_shift(Values{1, 2, 4}, Values{3, 5, 6}).p, 4.0 / 20);
  EXPECT_DOUBLE_EQ(unpaired_shift(Values{1, 2, 3}, Values{11, 12, 13}).estimate, 10);
  EXPECT_DOUBLE_EQ(unpaired_shift(Values{1, 2, 3, 4, 5}, Values{6, 7, 8, 9, 10}).min_p, 2.0 / 252);
}

TEST(Shift, OfEqualValuesIsNone) {
  EXPECT_EQ(paired_shift(Values(10, 0.0)).p, 1);
  EXPECT_EQ(unpaired_shift(Values(5, 1.0), Values(5, 1.0)).p, 1);
  EXPECT_EQ(unpaired_shift(Values(5, 1.0), Values(5, 1.0)).high, 0);
  EXPECT_EQ(paired_shift({}).p, 1);
}

TEST(Shift, TurnsAroundWithItsSides) {
  const Values a{1, 5, 2, 8, 3, 7}, b{4, 4.5, 9, 7.5, 10, 11};
  const Shift there = unpaired_shift(a, b), back = unpaired_shift(b, a);
  EXPECT_DOUBLE_EQ(there.p, back.p);
  EXPECT_DOUBLE_EQ(there.low, -back.high);
  EXPECT_DOUBLE_EQ(there.estimate, -back.estimate);
}

TEST(Shift, IsFoundByChanceAsOftenAsItSays) {
  std::mt19937 random(1);
  std::normal_distribution<double> noise;
  int paired = 0, unpaired = 0, held = 0;
  for (int i = 0; i < 1000; ++i) {
    Values a, b, differences;
    for (int k = 0; k < 10; ++k)
      a.push_back(noise(random)), b.push_back(noise(random)), differences.push_back(a[k] - b[k]);
    const Shift shift = unpaired_shift(a, b);
    unpaired += shift.p < 0.01;
    held += shift.low <= 0 && 0 <= shift.high;
    paired += paired_shift(differences).p < 0.01;
  }
  EXPECT_LE(paired, 20);
  EXPECT_LE(unpaired, 20);
  EXPECT_GE(held, 935);
}

}  // namespace
}  // namespace moebench
