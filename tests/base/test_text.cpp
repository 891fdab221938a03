// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

TEST(Text, ReadsWholeNumbersStrictly) {
  EXPECT_EQ(to_int("42"), 42);
  EXPECT_EQ(to_int("9223372036854775807"), INT64_MAX);
  for (const char* bad : {"", "-1", "+1", "1.0", "1 ", " 1", "0x10", "9223372036854775808", "1e3"})
    EXPECT_FALSE(to_int(bad)) << bad;
}

TEST(Text, WritesTheUuidOfAGpuLikeNvidiaSmi) {
  const char bytes[16] = {0x4d, 0x2c, 0x1a, 0x7e, 0x0b, 0x1f, 0x4c, -1,
                          0,    0x01, 0x10, 0x20, 0x30, 0x40, 0x50, -128};
  EXPECT_EQ(gpu_uuid_text(bytes), "GPU-4d2c1a7e-0b1f-4cff-0001-102030405080");
}

TEST(Text, ReadsFiniteNumbersStrictly) {
  EXPECT_EQ(to_double("-1.5e3"), -1500);
  for (const char* bad : {"", "nan", "inf", "1e999", "1,5", "1.5x"}) EXPECT_FALSE(to_double(bad)) << bad;
}

TEST(Text, SplitsAndJoinsBackAndForth) {
  for (const char* text : {"", "a", "a,b", ",", "a,,b,"})
    EXPECT_EQ(split(text, ',').size(), 1u + std::count(text, text + strlen(text), ','));
  EXPECT_EQ(join({"a", "b", "c"}, ", "), "a, b, c");
  EXPECT_EQ(join({"", "a", ""}, ","), ",a,");
  EXPECT_EQ(trimmed("\t a b \n"), "a b");
  EXPECT_EQ(trimmed("  "), "");
}

TEST(Text, GuessesTheWordThatWasMeant) {
  const std::vector<std::string> words{"experts", "engine", "ep", "top-k"};
  EXPECT_EQ(nearest("expert", words), "experts");
  EXPECT_EQ(nearest("enigne", words), "engine");
  EXPECT_EQ(nearest("topk", words), "top-k");
  EXPECT_EQ(nearest("zzzzzz", words), std::nullopt);
  EXPECT_EQ(nearest("4", words), std::nullopt);  // nothing of it would be left
  EXPECT_EQ(nearest("mixtral", {"dbrx", "mixtral-8x22b", "mixtral-8x7b"}), "mixtral-8x7b");
  EXPECT_EQ(nearest("mi", {"mixtral-8x7b"}), std::nullopt);
}

TEST(Text, NamesTheValidWordsForAnUnknownOne) {
  try {
    throw_unknown("engine", "lop", {"loop", "streams"});
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "unknown engine 'lop'; did you mean 'loop'? valid: loop, streams");
  }
}

TEST(Text, FormatsLikePrintf) { EXPECT_EQ(format("%s-%03d", "x", 7), "x-007"); }

}  // namespace
}  // namespace moebench
