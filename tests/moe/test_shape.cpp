// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/error.h"
#include "moe/shape.h"

namespace moebench {
namespace {

const Shape kGood{.tokens = 10, .hidden = 4, .ffn = 8, .experts = 8, .top_k = 2, .ranks = 4, .ep = 2};

std::string refusal(Shape shape) {
  try {
    validate(shape);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

Shape with(auto change) {
  Shape shape = kGood;
  change(shape);
  return shape;
}

TEST(Shape, AcceptsWhatIsPossible) {
  EXPECT_EQ(refusal(kGood), "accepted");
  EXPECT_EQ(refusal(with([](Shape& s) { s.tokens = 0; })), "accepted");
}

TEST(Shape, SaysWhatIsImpossible) {
  EXPECT_EQ(refusal(with([](Shape& s) { s.top_k = 9; })), "top_k 9 exceeds experts 8");
  EXPECT_EQ(refusal(with([](Shape& s) { s.ep = 3; })), "ep 3 does not divide ranks 4");
  EXPECT_EQ(refusal(with([](Shape& s) { s.ep = 8; })), "ep 8 exceeds ranks 4");
  EXPECT_EQ(refusal(with([](Shape& s) { s.experts = 9; })),
            "experts 9 cannot be dealt evenly to ep 2 ranks; use a multiple of 2");
  EXPECT_EQ(refusal(with([](Shape& s) { s.hidden = 0; })), "hidden 0 must be at least 1");
  EXPECT_EQ(refusal(with([](Shape& s) { s.tokens = -1; })), "tokens -1 must be at least 0");
}

TEST(Shape, RefusesSizesThatOverflow) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  EXPECT_NE(refusal(with([](Shape& s) {
              s.hidden = kHuge;
              s.ffn = kHuge;
            })).find("overflows"),
            std::string::npos);
  EXPECT_NE(refusal(with([](Shape& s) { s.tokens = kHuge; })).find("exceeds 2147483647"), std::string::npos);
  EXPECT_NE(refusal(with([](Shape& s) {
              s.tokens = INT64_MAX;
              s.hidden = INT64_MAX;
            })).find("overflows"),
            std::string::npos);
}

TEST(Shape, DealsEveryTokenToExactlyOneRank) {
  for (const std::int64_t tokens : {0, 1, 3, 10, 4096}) {
    const Shape shape = with([=](Shape& s) { s.tokens = tokens; });
    std::int64_t sum = 0;
    for (int rank = 0; rank < shape.ranks; ++rank) {
      EXPECT_EQ(shape.first_token(rank), sum);
      EXPECT_LE(std::abs(shape.tokens_of(rank) - tokens / shape.ranks), 1);
      sum += shape.tokens_of(rank);
    }
    EXPECT_EQ(sum, tokens);
  }
}

}  // namespace
}  // namespace moebench
