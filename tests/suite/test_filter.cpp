// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "suite/expect_usage_error.h"
#include "suite/filter.h"

namespace moebench {
namespace {

bool keeps(std::string_view filter, const Case& point) { return matches(point, parse_filter(filter)); }

Case point_with_experts(std::int64_t experts) {
  Case point;
  point.shape = {.tokens = 10, .hidden = 64, .ffn = 128, .experts = experts, .top_k = 2, .ranks = 4, .ep = 2};
  return point;
}

TEST(Filter, KeepsEverythingIfEmpty) {
  EXPECT_TRUE(keeps("", point_with_experts(8)));
  EXPECT_TRUE(keeps("  ", point_with_experts(8)));
}

TEST(Filter, ComparesNumbersAsNumbers) {
  EXPECT_TRUE(keeps("experts<16", point_with_experts(8)));  // as text "8" is after "16"
  EXPECT_FALSE(keeps("experts<8", point_with_experts(8)));
  EXPECT_TRUE(keeps("experts<=8", point_with_experts(8)));
  EXPECT_FALSE(keeps("experts>8", point_with_experts(8)));
  EXPECT_TRUE(keeps("experts>=8", point_with_experts(8)));
  EXPECT_TRUE(keeps("experts=08", point_with_experts(8)));
  EXPECT_FALSE(keeps("experts!=8", point_with_experts(8)));
}

TEST(Filter, ComparesWords) {
  EXPECT_TRUE(keeps("engine=loop", point_with_experts(8)));
  EXPECT_FALSE(keeps("engine!=loop", point_with_experts(8)));
  EXPECT_TRUE(keeps("routing=random", point_with_experts(8)));
}

TEST(Filter, WantsAllConditionsToHold) {
  EXPECT_TRUE(keeps("experts<=16, engine = loop", point_with_experts(8)));
  EXPECT_FALSE(keeps("experts<=16,engine=naive-mask", point_with_experts(8)));
}

TEST(Filter, SeesWhatFollowsFromOtherFlags) {
  EXPECT_TRUE(keeps("experts-per-rank=4", point_with_experts(8)));
  EXPECT_TRUE(keeps("total-tokens=10", point_with_experts(8)));
}

TEST(Filter, FailsAConditionOnAValueTheCaseDoesNotHave) {
  // 10 tokens on 4 ranks: there is no number of tokens per rank.
  EXPECT_FALSE(keeps("tokens>=0", point_with_experts(8)));
  EXPECT_FALSE(keeps("tokens!=3", point_with_experts(8)));
}

TEST(Filter, RefusesMalformedText) {
  const std::pair<const char*, const char*> cases[] = {
      {"experts", "no operator"},
      {"experts!8", "'!' must be followed by '='"},
      {"expert=8", "did you mean"},
      {"=8", "unknown flag ''"},
      {"experts=", "no value"},
      {"experts==8", "one operator"},
      {"4<experts<16", "unknown flag '4'"},
      {"experts<8<16", "one operator"},
      {"experts=8:16:8", "one value is wanted"},
      {"engine<loop", "has no order"},
      {"experts<=many", "not a whole number"},
      {"experts=8,", "no operator"},
      {"activation=gulu", "did you mean 'gelu'"},
  };
  for (const auto& [text, words] : cases) expect_usage_error([&] { parse_filter(text); }, words);
}

}  // namespace
}  // namespace moebench
