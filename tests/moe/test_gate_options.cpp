// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/error.h"
#include "moe/gate_options.h"

namespace moebench {
namespace {

TEST(ExpertGroups, AreReadAndWrittenAsOneWord) {
  for (const char* word : {"none", "8:4", "8:4:deepseek", "2:1"})
    EXPECT_EQ(groups_text(parse_groups(word)), word);
  EXPECT_EQ(groups_text(parse_groups("8:4:megatron")), "8:4");
  for (const char* word : {"", "8", "8:0", "1:1", "a:b", "8:4:2:1", "8:4:other", "-8:4", "8:"})
    EXPECT_THROW(parse_groups(word), UsageError) << word;
}

TEST(ExpertGroups, AreRefusedWhereExpertsCannotBeGroupedSo) {
  const Shape shape{.tokens = 1, .hidden = 1, .ffn = 1, .experts = 16, .top_k = 4};
  const auto why = [&](const char* word, bool biased = false) {
    return why_not(parse_groups(word), shape, biased);
  };
  EXPECT_EQ(why("none"), "");
  EXPECT_EQ(why("4:2"), "");
  EXPECT_EQ(why("4:2:deepseek", true), "");
  EXPECT_EQ(why("16:4:deepseek"), "");
  EXPECT_EQ(why("5:2"), "groups 5:2: 5 does not divide the 16 experts");
  EXPECT_EQ(why("4:5"), "groups 4:5 keeps more groups than there are");
  EXPECT_EQ(why("8:1"), "groups 8:1 keeps 2 experts, fewer than top_k 4");
  EXPECT_EQ(why("16:8"), "groups 16:8 keeps more groups than the 4 choices of a token");
  EXPECT_EQ(why("8:3:deepseek", true), "");
  EXPECT_EQ(why("16:4:deepseek", true), "groups 16:4:deepseek scores a group by 2 experts, and it has 1");
  EXPECT_EQ(why("64:4"), "groups 64:4: at most 32 groups");
}

TEST(LossOptions, AreReadAndWrittenAsOneWord) {
  LossOptions losses;
  for (const char* word : {"0.01", "0.01:sequence:4096", "none"}) {
    parse_aux(word, losses);
    EXPECT_EQ(aux_text(losses), word);
  }
  parse_aux("0.5:batch", losses);
  EXPECT_EQ(aux_text(losses), "0.5");
  for (const char* word : {"", "0", "-1", "1:sequence", "1:sequence:0", "1:token:2", "1:batch:2", "inf"})
    EXPECT_THROW(parse_aux(word, losses), UsageError) << word;
}

TEST(LossOptions, AreRefusedWhereAGroupWouldBeCut) {
  const Shape shape{.tokens = 24, .hidden = 1, .ffn = 1, .experts = 4, .top_k = 1, .ranks = 4};
  EXPECT_EQ(why_not(LossOptions{.aux = 1}, shape), "");
  EXPECT_EQ(why_not(LossOptions{.z = 1, .gate_group = 5}, shape), "");
  EXPECT_EQ(why_not(LossOptions{.aux = 1, .sequence = 4}, shape),
            "aux-loss sequence 4 does not divide the 6 tokens of rank 0: a group would be cut; use a divisor "
            "of the "
            "tokens per rank");
  EXPECT_EQ((LossOptions{.aux = 1}.group_of(shape)), 6);
  EXPECT_EQ((LossOptions{.aux = 1, .sequence = 3}.group_of(shape)), 3);
}

TEST(GateBias, IsDrawnByTheSeed) {
  const GateOptions one{.bias = 0.5}, other{.bias = 0.5, .seed = 2};
  EXPECT_NE(one.bias_field().at(3), other.bias_field().at(3));
  EXPECT_EQ(one.bias_field().at(3), (GateOptions{.bias = 0.5}.bias_field().at(3)));
  EXPECT_FALSE(GateOptions{}.biased());
}

}  // namespace
}  // namespace moebench
