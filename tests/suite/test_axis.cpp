// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "suite/axis.h"
#include "suite/expect_usage_error.h"

namespace moebench {
namespace {

using Values = std::vector<std::string>;

Values expand(std::string_view flag, std::string_view text) { return expand_axis(find_flag(flag), text); }

TEST(Axis, TakesOneValue) { EXPECT_EQ(expand("experts", "8"), Values{"8"}); }

TEST(Axis, TakesAList) { EXPECT_EQ(expand("experts", "8,32,16"), (Values{"8", "32", "16"})); }

TEST(Axis, ExpandsAStepRangeWithItsEnd) {
  EXPECT_EQ(expand("experts", "1:9:2"), (Values{"1", "3", "5", "7", "9"}));
}

TEST(Axis, LeavesOutAnEndThatTheStepDoesNotHit) {
  EXPECT_EQ(expand("experts", "1:8:3"), (Values{"1", "4", "7"}));
}

TEST(Axis, ExpandsAFactorRange) {
  const Values values = expand("tokens", "1:4096:*2");
  ASSERT_EQ(values.size(), 13u);
  EXPECT_EQ(values.front(), "1");
  EXPECT_EQ(values[1], "2");
  EXPECT_EQ(values.back(), "4096");
}

TEST(Axis, LeavesOutAnEndThatTheFactorDoesNotHit) {
  EXPECT_EQ(expand("tokens", "3:50:*3"), (Values{"3", "9", "27"}));
}

TEST(Axis, MixesValuesAndRanges) {
  EXPECT_EQ(expand("tokens", "1, 16:64:16 ,256:1024:*4"),
            (Values{"1", "16", "32", "48", "64", "256", "1024"}));
}

TEST(Axis, TakesARangeOfOneValue) { EXPECT_EQ(expand("tokens", "5:5:1"), Values{"5"}); }

TEST(Axis, TakesWords) { EXPECT_EQ(expand("activation", "gelu,swiglu"), (Values{"gelu", "swiglu"})); }

TEST(Axis, TakesColonsInWordsAsPartOfTheWord) {
  EXPECT_EQ(expand("routing", "zipf:1.2,random"), (Values{"zipf:1.2", "random"}));
}

TEST(Axis, SpellsEqualWordsAlike) {
  EXPECT_EQ(expand("routing", "zipf:1.20"), expand("routing", "zipf:1.2"));
}

TEST(Axis, StopsAtTheLargestIntegerWithoutOverflow) {
  EXPECT_EQ(expand("seed", "4611686018427387904:9223372036854775807:*2"), Values{"4611686018427387904"});
  EXPECT_EQ(expand("seed", "9223372036854775806:9223372036854775807:1").size(), 2u);
}

TEST(Axis, RefusesMalformedText) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no value"},
      {",", "an empty part"},
      {"8,,16", "an empty part"},
      {"8,", "an empty part"},
      {"eight", "'eight' is not a whole number"},
      {"-8", "'-8' is not a whole number"},
      {"+8", "'+8' is not a whole number"},
      {"8.0", "'8.0' is not a whole number"},
      {"1e3", "'1e3' is not a whole number"},
      {"0x10", "'0x10' is not a whole number"},
      {"1:9", "FROM:TO:STEP"},
      {"1:9:2:3", "FROM:TO:STEP"},
      {"1:9:0", "step '0'"},
      {"1:9:-2", "step '-2'"},
      {"1:9:", "step ''"},
      {"1:9:*1", "factor '1'"},
      {"1:9:*0", "factor '0'"},
      {"1:9:*", "factor ''"},
      {"1:9:**2", "factor '*2'"},
      {"9:1:2", "starts at 9, after its end 1"},
      {":9:2", "'' is not a whole number"},
      {"9223372036854775808", "is not a whole number"},
      {"0", "0 is less than 1"},
      {"8 16", "is not a whole number"},
  };
  for (const auto& [text, words] : cases) {
    expect_usage_error([&] { expand("experts", text); }, words);
    expect_usage_error([&] { expand("experts", text); }, "--experts '");
  }
}

TEST(Axis, RefusesAFactorFromZero) {
  expect_usage_error([] { expand("tokens", "0:8:*2"); }, "a factor cannot lead away from 0");
}

TEST(Axis, RefusesMoreThanTenThousandValues) {
  EXPECT_EQ(expand("tokens", "1:10000:1").size(), kMaxAxisValues);
  expect_usage_error([] { expand("tokens", "1:10001:1"); }, "more than 10000 values");
  expect_usage_error([] { expand("tokens", "1:10000:1,7"); }, "more than 10000 values");
  expect_usage_error([] { expand("tokens", "0:9223372036854775807:1"); }, "more than 10000 values");
}

TEST(Axis, RefusesUnknownWordsAndNamesTheNearest) {
  expect_usage_error([] { expand("activation", "gelu,swigul"); }, "did you mean 'swiglu'");
  expect_usage_error([] { expand("bias", "maybe"); }, "valid: off, on");
  expect_usage_error([] { expand("routing", "zipf:"); }, "zipf:S");
}

TEST(Axis, RefusesMoreRanksThanCanExist) {
  expect_usage_error([] { expand("ranks", "4294967297"); }, "4294967297 is more than 1048576");
}

}  // namespace
}  // namespace moebench
