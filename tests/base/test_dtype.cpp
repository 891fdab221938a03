// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "base/dtype.h"
#include "base/error.h"

namespace moebench {
namespace {

TEST(DType, NamesGoBothWays) {
  for (const FormatInfo& format : kFormats) EXPECT_EQ(parse_dtype(format.name), format.dtype) << format.name;
  EXPECT_THROW(parse_dtype("float"), UsageError);
}

TEST(DType, KnowsTheErrorOfItsStorage) {
  for (const FormatInfo& format : kFormats) {
    const auto u = static_cast<float>(format.unit_roundoff);
    EXPECT_EQ(round_to(format.dtype, 1 + u), 1) << format.name << ": 1 + u is a tie";
    EXPECT_EQ(round_to(format.dtype, 1 + 2 * u), 1 + 2 * u) << format.name;
  }
}

TEST(DType, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(round_to(DType::bf16, 1.0f + 1.0f / 256), 1.0f);               // tie: down to the even one
  EXPECT_EQ(round_to(DType::bf16, 1.0f + 3.0f / 256), 1.0f + 4.0f / 256);  // tie: up to the even one
  EXPECT_EQ(round_to(DType::bf16, 1.0f + 1.1f / 256), 1.0f + 2.0f / 256);
  EXPECT_EQ(round_to(DType::fp16, 1.0f + 1.0f / 2048), 1.0f);
  EXPECT_EQ(round_to(DType::fp16, 65536.0f), INFINITY);
  EXPECT_EQ(round_to(DType::fp32, 0.1f), 0.1f);
  EXPECT_EQ(round_to(DType::tf32, 0.1f), 0.1f);  // stored as fp32; rounded only when multiplied
  EXPECT_TRUE(std::isnan(round_to(DType::bf16, NAN)));
}

}  // namespace
}  // namespace moebench
