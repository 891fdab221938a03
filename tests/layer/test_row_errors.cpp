// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "layer/gradient_rows.h"
#include "layer/verify.h"

namespace moebench {
namespace {

RowSums sums(const std::vector<double>& out, const std::vector<double>& expected) {
  RowSums row;
  for (std::size_t i = 0; i < out.size(); ++i) row.add(out[i], expected[i]);
  return row;
}

double error_of(const std::vector<double>& out, const std::vector<double>& expected, double terms = 0) {
  RowErrors errors(static_cast<std::int64_t>(out.size()), 1);
  errors.add(sums(out, expected), terms, [] { return "row"; });
  return errors.largest();
}

TEST(RowErrors, NameTheWorstOfManyRows) {
  RowErrors errors(2, 1000000);
  for (int row = 0; row < 1000; ++row)
    errors.add(sums({1, row == 777 ? 0.0 : 1.0}, {1, 1}), 0, [row] { return std::to_string(row); });
  EXPECT_EQ(errors.where(), "777");
  EXPECT_GT(errors.largest(), 0.05);
}

TEST(RowErrors, StayNotANumber) {
  RowErrors errors(1, 10);
  errors.add(sums({1}, {2}), 0, [] { return "first"; });
  errors.add(sums({std::nan("")}, {2}), 0, [] { return "second"; });
  errors.add(sums({9}, {2}), 0, [] { return "third"; });
  EXPECT_TRUE(std::isnan(errors.largest()));
  EXPECT_EQ(errors.where(), "second");
  CheckItem item{"y", 1, 2};
  errors.merge_into(item);
  EXPECT_TRUE(std::isnan(item.error));
  EXPECT_FALSE(item.passed());
  EXPECT_TRUE(std::isnan(error_of({INFINITY}, {INFINITY})));
}

TEST(RowErrors, WantAnExactZeroWhereThereIsNothing) {
  EXPECT_EQ(error_of({0, 0}, {0, 0}), 0);
  EXPECT_EQ(error_of({0, 1e-30}, {0, 0}), INFINITY);
  EXPECT_LT(error_of({0, 1e-9}, {0, 0}, 1), 1e-8) << "a sum of terms that cancel";
}

TEST(RowErrors, ShowOneElementOfALongRow) {
  std::vector<double> expected(4096, 1.0), out = expected;
  out[5] = 0;
  const double norm = 1 / std::sqrt(4096.0);
  EXPECT_LT(norm, 1.05 * error_bound(DType::bf16)) << "the norm of the row hardly sees it";
  EXPECT_GT(error_of(out, expected), 5 * error_bound(DType::bf16));
}

TEST(RowErrors, OfManyNormalRowsStayBelowWhatChanceAllows) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  for (const std::int64_t n : {1, 3, 16, 256}) {
    const std::int64_t rows = 40000 / n + 1000;
    RowErrors errors(n, rows);
    for (std::int64_t r = 0; r < rows; ++r) {
      RowSums row;
      for (std::int64_t i = 0; i < n; ++i) row.add(1 + 1e-3 * normal(random), 1);
      errors.add(row, 0, [] { return ""; });
    }
    EXPECT_LT(errors.largest(), 1e-3) << n;
    EXPECT_GT(errors.largest(), 0.4e-3) << "and not far below, " << n;
  }
}

TEST(Hash, TellsGradientsApartByOneBit) {
  ExpertGradients a{{1, 2}, {}, {3}, {}}, b = a;
  EXPECT_EQ(hash_of(a), hash_of(b));
  b.w2[0] = std::nextafter(3.0f, 4.0f);
  EXPECT_NE(hash_of(a), hash_of(b));
}

}  // namespace
}  // namespace moebench
