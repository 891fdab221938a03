// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "report/grid.h"
#include "report/quantity.h"

namespace moebench {
namespace {

std::string shown(std::vector<double> values) {
  const Scale scale = time_scale(values);
  std::string text;
  for (const double value : values) text += scale.text(value) + " ";
  return text + scale.unit;
}

TEST(TimeScale, GivesOneUnitToAColumn) {
  EXPECT_EQ(shown({1.5}), "1.50 µs");
  EXPECT_EQ(shown({12.345, 250}), "12.3 250.0 µs");
  EXPECT_EQ(shown({950, 1200}), "950 1200 µs");
  EXPECT_EQ(shown({1830, 183420}), "1.83 183.42 ms");
  EXPECT_EQ(shown({2.5e6, 3e6}), "2.50 3.00 s");
}

TEST(TimeScale, StaysReadableOverManyOrders) { EXPECT_EQ(shown({3, 3e6}), "0.003 3000.000 ms"); }

TEST(TimeScale, RoundsToTheUnitItWillShow) {
  EXPECT_EQ(shown({999.4}), "999 µs");
  EXPECT_EQ(shown({999.7}), "1.00 ms");
  EXPECT_EQ(shown({9.998}), "10.0 µs");
}

TEST(TimeScale, TakesNoAccountOfWhatIsNoTime) {
  EXPECT_EQ(shown({}), "µs");
  EXPECT_EQ(shown({0}), "0 µs");
  EXPECT_EQ(shown({std::nan(""), 5e3, HUGE_VAL, 0}), "– 5.00 – 0.00 ms");
}

TEST(FlopsScale, ShowsSmallRatesInGiga) {
  const std::vector<double> small{0.0512, 0.2}, large{0.5, 660};
  EXPECT_EQ(flops_scale(small).text(0.0512) + flops_scale(small).unit, "51.2GFLOP/s");
  EXPECT_EQ(flops_scale(large).text(660) + flops_scale(large).unit, "660.000TFLOP/s");
}

TEST(Texts, AreShort) {
  EXPECT_EQ(time_text(1834.2), "1.83 ms");
  EXPECT_EQ(time_text(HUGE_VAL), "?");
  EXPECT_EQ(percent_text(0.4249), "0.42 %");
  EXPECT_EQ(percent_text(2.34), "2.3 %");
  EXPECT_EQ(percent_text(12.4), "12 %");
  EXPECT_EQ(percent_text(HUGE_VAL), "?");
  EXPECT_EQ(clock_text(42.4), "0:42");
  EXPECT_EQ(clock_text(3723), "1:02:03");
  EXPECT_EQ(clock_text(-3), "0:00");
}

TEST(Grid, AlignsFiguresRightAndWordsLeft) {
  Grid grid({"engine", "µs", "±"});
  grid.add_row({"loop", "1.50", "0.4 %"});
  grid.add_row({"naive-mask", "120.00", "10 %"});
  EXPECT_EQ(grid.text(),
            "engine          µs      ±\n"
            "──────────  ──────  ─────\n"
            "loop          1.50  0.4 %\n"
            "naive-mask  120.00   10 %\n");
}

TEST(Grid, KeepsFiguresRightBesideAWordThatIsExplained) {
  Grid grid({"experts", "µs"});
  grid.add_row({"8", "1.50"});
  grid.add_row({"16", "skipped"});
  grid.add_note("why");
  EXPECT_EQ(grid.text(),
            "experts       µs\n"
            "───────  ───────\n"
            "      8     1.50\n"
            "     16  skipped\n"
            "  └ why\n");
}

TEST(Wrapped, BreaksBetweenParts) {
  EXPECT_EQ(wrapped({"aa", "bb", "cc"}, " ", 5), "aa bb\ncc\n");
  EXPECT_EQ(wrapped({"toolong"}, " ", 3), "toolong\n");
}

}  // namespace
}  // namespace moebench
