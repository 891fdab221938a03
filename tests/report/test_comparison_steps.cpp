// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "report/comparison.h"
#include "report/example.h"

namespace moebench {
namespace {

/// Four routing steps, of which the last bursts: its time is `burst_us`, that of the others 100.
Record bursting(double burst_us, double half_width_pct = 0.5) {
  Record record = example::record(8, "loop", 100);
  record.bench_case.routing = parse_routing("burst:1");
  record.id = id_of(record.bench_case);
  record.routing.steps.clear();
  for (const double us : {100.0, 100.0, 100.0, burst_us})
    record.routing.steps.push_back({.time = {.n = 30,
                                             .p50 = us,
                                             .ci95_low = us * (1 - half_width_pct / 100),
                                             .ci95_high = us * (1 + half_width_pct / 100)}});
  return record;
}

Document of(std::vector<Record> points) {
  Document document = example::document();
  document.points = std::move(points);
  return document;
}

PointComparison judged(const Record& a, const Record& b) { return compare(of({a}), of({b})).points.at(0); }

TEST(CompareSteps, PairsThemByNumber) {
  const auto result = judged(bursting(200), bursting(240));
  ASSERT_EQ(result.steps.size(), 4u);
  EXPECT_EQ(result.steps[3].name, "step 3");
  EXPECT_EQ(result.steps[3].judged.verdict, Verdict::slower);
  EXPECT_NEAR(result.steps[3].judged.ratio, 1.2, 1e-12);
  for (int step = 0; step < 3; ++step) EXPECT_EQ(result.steps[step].judged.verdict, Verdict::same);
}

TEST(CompareSteps, ABurstThatTheMedianHidesMakesThePointMixedAndARegression) {
  const auto comparison = compare(of({bursting(200)}), of({bursting(240)}));
  EXPECT_EQ(comparison.points[0].verdict, Verdict::mixed);
  EXPECT_EQ(comparison.points[0].reason, "the whole is the same, its steps are not: step 3 slower: 1.200");
  EXPECT_EQ(comparison.exit_code(), ExitCode::regression);
  EXPECT_NE(text_of(comparison).find("slower: step 3 1.200"), std::string::npos) << text_of(comparison);
  EXPECT_EQ(to_json(comparison)["points"][0]["steps"]["step 3"]["verdict"], "slower");
  EXPECT_EQ(compare(of({bursting(240)}), of({bursting(200)})).exit_code(), ExitCode::ok)
      << "it became faster";
}

TEST(CompareSteps, AskForMoreEvidenceTheMoreStepsThereAre) {
  // Intervals just apart: two medians 3 % apart, each known to 1.4 %, p = 0.003 > 0.01 / 4.
  const auto result = judged(bursting(200, 1.4), bursting(206, 1.4));
  EXPECT_EQ(result.steps[3].judged.verdict, Verdict::ambiguous);
  EXPECT_NE(result.steps[3].judged.reason.find("of 4 steps one is so far off by chance"), std::string::npos);
  EXPECT_EQ(result.verdict, Verdict::same);
}

TEST(CompareSteps, AreThoseOfRoutingsThatRotateOnBothSides) {
  Record a = bursting(200), b = bursting(240);
  b.routing.steps.pop_back();
  EXPECT_TRUE(judged(a, b).steps.empty()) << "another number of steps";
  b = bursting(240);
  b.routing.steps[1].time = {};
  EXPECT_TRUE(judged(a, b).steps.empty()) << "a step that was not sampled";
  a.bench_case.routing = b.bench_case.routing = parse_routing("zipf:1");
  EXPECT_TRUE(judged(a, a).steps.empty()) << "input sets of one routing";
  a.bench_case.routing = parse_routing("trace:x.npy");
  EXPECT_EQ(judged(a, a).steps.size(), 4u);
}

TEST(CompareSteps, AreJudgedOverProcesses) {
  std::vector<Document> a, b;
  for (int i = 0; i < 12; ++i) {
    a.push_back(of({bursting(200 + 0.1 * i)}));
    b.push_back(of({bursting(240 + 0.1 * i)}));
  }
  const auto result = compare(a, b).points.at(0);
  ASSERT_EQ(result.steps.size(), 4u);
  EXPECT_EQ(result.steps[3].judged.verdict, Verdict::slower);
  EXPECT_EQ(result.steps[3].judged.processes_a, 12);
}

}  // namespace
}  // namespace moebench
