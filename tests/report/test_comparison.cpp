// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "report/comparison.h"
#include "report/example.h"

namespace moebench {
namespace {

Document of(std::vector<Record> points) {
  Document document = example::document();
  document.points = std::move(points);
  return document;
}

/// A point whose samples lie evenly within `spread_pct` around the median.
Record point(double median_us, double spread_pct = 1, int n = 101, int experts = 8) {
  Record record = example::record(experts, "loop", median_us);
  std::vector<double> samples;
  for (int i = 0; i < n; ++i) samples.push_back(median_us * (1 + spread_pct / 100 * (2.0 * i / (n - 1) - 1)));
  samples = example::shuffled(std::move(samples));
  record.time["total"].device = summarize(samples);
  record.time["total"].samples = samples;
  return record;
}

PointComparison judged(const Record& a, const Record& b, CompareOptions options = {}) {
  return compare(of({a}), of({b}), options).points.at(0);
}

TEST(Compare, CallsADifferenceBeyondTheThresholdByItsName) {
  EXPECT_EQ(judged(point(100), point(105)).verdict, Verdict::slower);
  EXPECT_EQ(judged(point(105), point(100)).verdict, Verdict::faster);
  EXPECT_EQ(judged(point(100), point(105), {.threshold_pct = 6}).verdict, Verdict::same);
}

TEST(Compare, CallsADifferenceWithinTheThresholdTheSame) {
  const auto result = judged(point(100), point(101));
  EXPECT_EQ(result.verdict, Verdict::same) << "real, but smaller than what was asked about";
  EXPECT_LT(result.p, 0.01);
  EXPECT_EQ(judged(point(100), point(100)).verdict, Verdict::same);
}

TEST(Compare, IsAmbiguousWhenTheSamplesCannotTell) {
  const auto noisy = judged(point(100, 40), point(103, 40));
  EXPECT_EQ(noisy.verdict, Verdict::ambiguous);
  EXPECT_LT(noisy.ratio_low, 1);
  EXPECT_NE(noisy.reason.find("faster to"), std::string::npos) << noisy.reason;
  const auto few = judged(point(100, 1, 5), point(200, 1, 5));
  EXPECT_EQ(few.verdict, Verdict::ambiguous);
  EXPECT_EQ(few.reason, "too few samples for an interval: 5 and 5 of at least 6");
}

TEST(Compare, NeedsTheRankTestToAgreeWhereThereAreSamples) {
  Record a = point(100, 1, 101), b = point(105, 1, 101);
  EXPECT_EQ(judged(a, b).verdict, Verdict::slower);
  a.time["total"].samples = b.time["total"].samples;  // as if the raw samples showed no shift
  EXPECT_EQ(judged(a, b).verdict, Verdict::ambiguous);
  a.time["total"].samples.clear();
  EXPECT_EQ(judged(a, b).verdict, Verdict::slower) << "without samples the intervals alone decide";
  EXPECT_TRUE(std::isnan(judged(a, b).p));
}

TEST(Compare, TurnsAroundWithItsSides) {
  for (const double factor : {0.5, 0.97, 0.99, 1.0, 1.015, 1.0205, 1.03, 2.0})
    for (const double spread : {0.1, 1.0, 10.0}) {
      const auto there = judged(point(100, spread), point(100 * factor, spread));
      const auto back = judged(point(100 * factor, spread), point(100, spread));
      EXPECT_NEAR(there.ratio * back.ratio, 1, 1e-12);
      EXPECT_NEAR(there.ratio_low * back.ratio_high, 1, 1e-12);
      const auto mirrored = there.verdict == Verdict::slower   ? Verdict::faster
                            : there.verdict == Verdict::faster ? Verdict::slower
                                                               : there.verdict;
      EXPECT_EQ(back.verdict, mirrored) << factor << " " << spread;
    }
}

TEST(Compare, TheRatioIntervalFollowsFromThoseOfTheMedians) {
  Record a = point(100), b = point(100);
  a.time["total"].device.ci95_low = 80, a.time["total"].device.ci95_high = 125;
  b.time["total"].device.ci95_low = 90, b.time["total"].device.ci95_high = 120;
  const auto result = judged(a, b);
  EXPECT_DOUBLE_EQ(result.ratio_low, 90.0 / 125);
  EXPECT_DOUBLE_EQ(result.ratio_high, 120.0 / 80);
}

TEST(Compare, EndsInRegressionOnlyWhenSomethingIsSlower) {
  EXPECT_EQ(compare(of({point(100)}), of({point(105)})).exit_code(), ExitCode::regression);
  EXPECT_EQ(compare(of({point(105)}), of({point(100)})).exit_code(), ExitCode::ok)
      << "an improvement is no error";
  EXPECT_EQ(compare(of({point(100)}), of({point(100)})).exit_code(), ExitCode::ok);
  EXPECT_EQ(compare(of({point(100, 40)}), of({point(103, 40)})).exit_code(), ExitCode::ok);
}

TEST(Compare, RefusesWrongResults) {
  const Record wrong = example::without_time(8, Status::incorrect, "y: error");
  for (const auto& [a, b] : {std::pair(point(100), wrong), std::pair(wrong, point(100))}) {
    const auto comparison = compare(of({a}), of({b}));
    EXPECT_EQ(comparison.points[0].verdict, Verdict::refused);
    EXPECT_EQ(comparison.points[0].ratio, 0);
    EXPECT_EQ(comparison.exit_code(), ExitCode::incorrect);
  }
  // Worse than a regression: the code tells of the graver one.
  EXPECT_EQ(
      compare(of({point(100), point(100, 1, 101, 16)}), of({wrong, point(200, 1, 101, 16)})).exit_code(),
      ExitCode::incorrect);
}

TEST(Compare, DoesNotPassOverPointsThatLostTheirTime) {
  const auto gone = compare(of({point(100), point(100, 1, 101, 16)}), of({point(100)}));
  EXPECT_EQ(gone.points[1].verdict, Verdict::missing);
  EXPECT_EQ(gone.exit_code(), ExitCode::partial);
  const auto skipped = compare(of({point(100)}), of({example::without_time(8, Status::skipped, "too big")}));
  EXPECT_EQ(skipped.points[0].reason, "skipped in B: too big");
  EXPECT_EQ(skipped.exit_code(), ExitCode::partial);
  const auto added = compare(of({point(100)}), of({point(100), point(100, 1, 101, 16)}));
  EXPECT_EQ(added.points[1].reason, "not in A");
  EXPECT_EQ(added.exit_code(), ExitCode::ok);
}

TEST(Compare, SaysWhyNothingMatches) {
  const auto comparison = compare(of({point(100)}), of({point(100, 1, 101, 16)}));
  ASSERT_FALSE(comparison.warnings.empty());
  EXPECT_EQ(comparison.warnings[0], "no point of A is in B; they differ in: experts 8 / 16");
  EXPECT_EQ(comparison.exit_code(), ExitCode::partial);
  EXPECT_EQ(compare(of({}), of({})).exit_code(), ExitCode::partial);
}

TEST(Compare, CanIgnoreASettingToCompareAlongIt) {
  Record other = point(50);
  other.bench_case.engine = "naive-mask";
  EXPECT_EQ(compare(of({point(100)}), of({other})).points[0].verdict, Verdict::missing);
  const auto along = compare(of({point(100)}), of({other}), {.ignore = {"engine"}});
  EXPECT_EQ(along.points.at(0).verdict, Verdict::faster);
  const auto twice = compare(of({point(100)}), of({other, point(90)}), {.ignore = {"engine"}});
  EXPECT_EQ(twice.points.at(0).reason, "2 points of B match it");
}

TEST(Compare, RefusesOptionsThatMeanNothing) {
  EXPECT_THROW(compare(of({}), of({}), {.threshold_pct = -1}), UsageError);
  EXPECT_THROW(compare(of({}), of({}), {.threshold_pct = std::nan("")}), UsageError);
  EXPECT_THROW(compare(of({}), of({}), {.ignore = {"engin"}}), UsageError);
}

TEST(Compare, WarnsWhenTheConditionsDiffer) {
  Document a = of({point(100)}), b = a;
  b.tool.build_type = "Debug";
  b.points[0].check.mode = "none";
  const auto warnings = compare(a, b).warnings;
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_EQ(warnings[0], "A and B differ in build type: Release / Debug");
  EXPECT_EQ(warnings[1], "1 points were measured without checking the result");
}

TEST(Compare, TwoRunsAtTheDefaultTargetCanBeTheSame) {
  // Half an interval of 1 %, the default target, on both sides: 2 % is the default threshold.
  Record a = point(100), b = point(100.3);
  for (Record* record : {&a, &b}) {
    TimeRecord& total = record->time["total"];
    total.device.ci95_low = 0.99 * total.device.p50, total.device.ci95_high = 1.01 * total.device.p50;
  }
  EXPECT_EQ(judged(a, b).verdict, Verdict::same);
  b.time["total"].device.ci95_high = 1.04 * b.time["total"].device.p50;
  EXPECT_EQ(judged(a, b).verdict, Verdict::ambiguous);
}

TEST(Compare, DoesNotTrustSamplesThatDriftOrMissedTheirTarget) {
  for (const double b_us : {110.0, 90.0}) {
    Record a = point(100), b = point(b_us);
    a.stop.flags = {"drift"};
    EXPECT_EQ(judged(a, b).verdict, Verdict::ambiguous);
    EXPECT_EQ(judged(a, b).reason, "repeat in turns: samples drift in A");
    a.stop.flags = {"correlated"};
    b.stop.unmet = "noise 2 % > target 1 %";
    EXPECT_EQ(judged(a, b).reason, "repeat in turns: B missed its target: noise 2 % > target 1 %");
  }
  Record a = point(100), b = point(100);
  a.stop.unmet = "noise 1.1 % > target 1 %";
  EXPECT_EQ(judged(a, b).verdict, Verdict::same) << "the interval is narrow enough for this threshold";
}

TEST(Compare, DoesNotJudgeMachinesWhosePeaksDiffer) {
  Document a = of({point(100)}), b = of({point(110)});
  a.peaks[0].ranks = b.peaks[0].ranks = 1;
  EXPECT_EQ(compare(a, b).points[0].verdict, Verdict::slower);
  b.peaks[0].copy_gbs = 0.8 * a.peaks[0].copy_gbs;
  EXPECT_EQ(compare(a, b).points[0].verdict, Verdict::ambiguous);
  EXPECT_EQ(compare(a, b).points[0].reason,
            "repeat in turns: the machines' own peaks differ: copy 20 / 16 GB/s");
}

TEST(Compare, CallsAWholeWhosePassesMovedMixed) {
  Record a = point(100), b = point(100);
  b.time["forward"] = example::time_record(example::samples_around(100 / 2.5), 1e11);
  b.time["backward"] = example::time_record(example::samples_around(60), 2e11);
  const auto comparison = compare(of({a}), of({b}));
  EXPECT_EQ(comparison.points[0].verdict, Verdict::mixed);
  EXPECT_EQ(comparison.points[0].reason,
            "the whole is the same, its passes are not: forward slower: 1.200, backward faster: 0.900");
  EXPECT_EQ(comparison.exit_code(), ExitCode::regression);
  b.time["forward"] = a.time["forward"];
  EXPECT_EQ(compare(of({a}), of({b})).exit_code(), ExitCode::ok) << "nothing became slower";
}

TEST(Compare, JudgesSeveralReportsOverTheirProcesses) {
  std::vector<Document> a, b;
  for (int i = 0; i < 10; ++i) {
    const double machine = i % 2 ? 1.3 : 1.0;  // it slows both sides of a pair
    a.push_back(of({point(100 * machine + 0.1 * i)}));
    b.push_back(of({point(105 * machine + 0.1 * i)}));
  }
  EXPECT_EQ(compare(a, b).points[0].verdict, Verdict::ambiguous);
  const auto paired = compare(a, b, {.paired = true});
  EXPECT_EQ(paired.points[0].verdict, Verdict::slower);
  EXPECT_EQ(paired.points[0].processes_a, 10);
  EXPECT_LT(paired.points[0].p, 0.01);
  EXPECT_EQ(compare(a, a, {.paired = true}).points[0].verdict, Verdict::same);
  b.pop_back();
  EXPECT_THROW(compare(a, b, {.paired = true}), UsageError);
}

TEST(Compare, JudgesPointsOfSeveralProcessesOverThem) {
  Record a = point(100), b = point(110);
  a.repetitions.median_us = {99, 100, 101, 100.5, 98};
  b.repetitions.median_us = {109, 112, 110, 108, 111};
  EXPECT_EQ(judged(a, b).verdict, Verdict::slower);
  b.repetitions.median_us = {90, 130, 110, 95, 140};
  EXPECT_EQ(judged(a, b).verdict, Verdict::ambiguous);
}

TEST(Compare, NamesTheCommandThatRepeatsBothInTurns) {
  Document a = of({point(100)}), b = a;
  a.run.argv = {"moebench", "run", "--experts", "8", "--json", "a.json", "--force"};
  b.run.argv = {"moebench", "run", "--json=b.json", "--experts", "8"};
  EXPECT_EQ(compare(a, b).in_turns, "moebench ab moebench moebench -- --experts 8");
  b.run.argv.push_back("--streams");
  b.tool.commit = std::string(40, 'b');
  EXPECT_EQ(compare(a, b).in_turns,
            "moebench ab 'A/moebench --experts 8' 'B/moebench --experts 8 --streams'   # A/moebench: commit "
            "aaaaaaaaaa (modified), B/moebench: commit bbbbbbbbbb (modified)");
}

TEST(Compare, RepeatsWhatTheReportsWarnOf) {
  Document a = of({point(100), point(100, 1, 101, 16)});
  for (Record& record : a.points) record.warnings = {"clocks fell"};
  a.points[0].stop.unmet = "noise 2 % > target 1 %";
  const auto repeated = compare(a, of({point(100)})).repeated;
  const auto said = [&](const std::string& line) {
    return std::find(repeated.begin(), repeated.end(), line) != repeated.end();
  };
  EXPECT_TRUE(said("A: one of all"));
  EXPECT_TRUE(said("A: CPU turbo is on"));
  EXPECT_TRUE(said("A: clocks fell (2 points)"));
  EXPECT_TRUE(said("A missed its target in 1 of 2 points: noise 2 % > target 1 %"));
  EXPECT_TRUE(said("B: one of all"));
}

TEST(Compare, CountsAnUncheckedPointOnce) {
  Document a = of({point(100)});
  a.points[0].check.mode = "none";
  EXPECT_EQ(compare(a, a).warnings.at(0), "1 points were measured without checking the result");
}

TEST(Compare, LooksAtFilteredPointsOnly) {
  const auto comparison =
      compare(of({point(100), point(100, 1, 101, 16)}), of({point(100), point(200, 1, 101, 16)}),
              {.filter = parse_filter("experts<=8")});
  ASSERT_EQ(comparison.points.size(), 1u);
  EXPECT_EQ(comparison.exit_code(), ExitCode::ok);
}

TEST(Compare, TakesTheGeometricMeanOfTheRatios) {
  const auto comparison =
      compare(of({point(100), point(100, 1, 101, 16)}), of({point(200), point(50, 1, 101, 16)}));
  EXPECT_NEAR(comparison.mean_ratio, 1, 1e-12);
}

TEST(CompareText, ListsEachPointWithItsVerdict) {
  const auto comparison = compare(of({point(100), point(100, 1, 101, 16), point(100, 1, 101, 32)}),
                                  of({point(110), point(100, 1, 101, 16)}));
  const std::string text = text_of(comparison);
  for (const auto* part : {"experts  A µs  B µs    B/A    low   high  verdict\n",
                           "      8   100   110  1.100  1.096  1.104  slower\n",
                           "     32     –     –      –      –      –  missing\n  └ not in B\n",
                           "1 same, 1 slower, 1 missing (threshold 2 %); geometric mean of B/A 1.049\n"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "in\n" << text;
}

TEST(Compare, SaysWhichSideIsUnchecked) {
  Record unchecked = point(105);
  unchecked.check = {};
  EXPECT_EQ(judged(point(100), unchecked).reason, "unchecked in B");
  EXPECT_EQ(judged(unchecked, unchecked).reason, "unchecked in A and B");
  EXPECT_EQ(judged(point(100), unchecked).verdict, Verdict::slower);
  EXPECT_EQ(judged(point(100), point(105)).reason, "");
  EXPECT_NE(text_of(compare(of({point(100)}), of({unchecked}))).find("└ unchecked in B"), std::string::npos);
}

TEST(Comparison, PairsADenseNetworkByWhatItReads) {
  Document a = example::document(), b = example::document();
  a.points = {point(100), point(100), point(100)};
  b.points = {point(100)};
  for (Record& record : a.points) record.bench_case.subject = SubjectKind::dense;
  a.points[1].bench_case.shape.experts = 32;
  a.points[2].bench_case.shape.experts = 64;
  b.points[0].bench_case.subject = SubjectKind::dense;
  const Comparison comparison = compare(a, b);
  ASSERT_EQ(comparison.points.size(), 1u);
  EXPECT_EQ(comparison.points[0].verdict, Verdict::same) << comparison.points[0].reason;
}

TEST(Comparison, IsWrittenAsCommaSeparatedValues) {
  Document a = example::document(), b = example::document();
  a.points = {point(100, 1, 101, 8), point(100, 1, 101, 16)};
  b.points = {point(100, 1, 101, 8), point(200, 1, 101, 16)};
  const std::string text = csv_of(compare(a, b));
  EXPECT_TRUE(text.starts_with("experts,verdict,reason,a_us,b_us,ratio,")) << text;
  EXPECT_NE(text.find("\r\n8,same,,100"), std::string::npos) << text;
  EXPECT_NE(text.find("\r\n16,slower,,100"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

}  // namespace
}  // namespace moebench
