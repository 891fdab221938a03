// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <sstream>

#include "report/example.h"
#include "report/progress.h"

namespace moebench {
namespace {

struct Scene {
  std::ostringstream out;
  double now = 0;
  std::function<double()> clock = [this] { return now; };
  std::string taken() {
    std::string text = out.str();
    out.str("");
    return text;
  }
};

/// Cases that differ in their number of experts.
std::vector<Case> cases_of(const std::vector<int>& experts) {
  std::vector<Case> cases;
  for (const int count : experts) cases.push_back(example::record(count, "loop", 1).bench_case);
  return cases;
}

TEST(Progress, IsOnePlainLinePerCaseWithoutATerminal) {
  Scene scene;
  const auto cases = cases_of({8, 16, 32});
  Progress progress(&scene.out, 0, cases, scene.clock);
  const Record first = example::record(8, "loop", 1830), second = example::record(16, "loop", 1830);
  progress.begin(first.bench_case);
  progress.sampled(first.bench_case, {1830, 5});
  EXPECT_EQ(scene.taken(), "");
  scene.now = 21;
  progress.end(first);
  EXPECT_EQ(scene.taken(), "[1/3] layer experts=8 engine=loop  1.83 ms ±0.50 %  max/mean 4.00  ETA 0:42\n");
  progress.begin(second.bench_case);
  scene.now = 42;
  progress.end(second);
  EXPECT_EQ(scene.taken(), "[2/3] layer experts=16 engine=loop  1.83 ms ±0.50 %  max/mean 4.00  ETA 0:21\n");
}

TEST(Progress, IsOneChangingLineOnATerminal) {
  Scene scene;
  const auto cases = cases_of({8, 16});
  Progress progress(&scene.out, 60, cases, scene.clock);
  const Record record = example::record(8, "loop", 1830);
  progress.begin(record.bench_case);
  progress.sampled(record.bench_case, {1900, 3.21});
  progress.sampled(record.bench_case, {1800, 3});  // too soon after the last
  EXPECT_EQ(scene.taken(),
            "\r\033[K[1/2] layer experts=8 engine=loop  …"
            "\r\033[K[1/2] layer experts=8 engine=loop  1.90 ms ±3.2 %");
  scene.now = 10;
  progress.end(record);
  EXPECT_EQ(scene.taken(),
            "\r\033[K[1/2] layer experts=8 engine=lo…  1.83 ms ±0.50 %  ETA 0:10");  // 59 columns
}

TEST(Progress, NeverWrapsALiveLine) {
  Scene scene;
  const auto cases = cases_of({8});
  Progress progress(&scene.out, 10, cases, scene.clock);
  progress.begin(cases[0]);
  EXPECT_EQ(scene.taken(), "\r\033[K[1/1] …");
  progress.phase(cases[0], "warming up");
  EXPECT_EQ(scene.taken(), "\r\033[K[1/1] war");
}

TEST(Progress, KeepsAFailureOnTheScreen) {
  Scene scene;
  const auto cases = cases_of({8});
  Progress progress(&scene.out, 80, cases, scene.clock);
  const Record record = example::without_time(8, Status::skipped, "needs 12 GB");
  progress.begin(record.bench_case);
  scene.taken();
  progress.end(record);
  EXPECT_EQ(scene.taken(), "\r\033[K[1/1] layer experts=8 engine=loop  skipped: needs 12 GB\n");
}

TEST(Progress, DoesNotCountHeldCasesInItsEstimate) {
  Scene scene;
  const auto cases = cases_of({2, 4, 8, 16});
  Progress progress(&scene.out, 0, cases, scene.clock);
  const Record record = example::record(8, "loop", 1830);
  progress.already_measured(cases[0]);
  progress.already_measured(cases[1]);
  EXPECT_EQ(scene.taken(),
            "[1/4] layer experts=2 engine=loop  already measured\n[2/4] layer experts=4 engine=loop  already "
            "measured\n");
  progress.begin(record.bench_case);
  scene.now = 10;
  progress.end(record);
  EXPECT_EQ(scene.taken(), "[3/4] layer experts=8 engine=loop  1.83 ms ±0.50 %  max/mean 4.00  ETA 0:10\n");
}

TEST(Progress, GivesCasesThatTakeTurnsTheirOwnLabelsAndNumbers) {
  Scene scene;
  const auto cases = cases_of({8, 16});
  Progress progress(&scene.out, 80, cases, scene.clock);
  for (const Case& bench_case : cases) progress.begin(bench_case);
  scene.taken();
  progress.sampled(cases[0], {1000, 1});
  EXPECT_EQ(scene.taken(), "\r\033[K[1/2] layer experts=8 engine=loop  1.00 ms ±1.0 %");
  scene.now = 1;
  progress.sampled(cases[1], {2000, 1});
  EXPECT_EQ(scene.taken(), "\r\033[K[2/2] layer experts=16 engine=loop  2.00 ms ±1.0 %");
  progress.end(example::record(16, "loop", 2000));
  EXPECT_EQ(scene.taken(),
            "\r\033[K[2/2] layer experts=16 engine=loop  2.00 ms ±0.50 %  max/mean 4.00  ETA 0:01");
}

TEST(Progress, SaysHowUnevenTheRowsOfExpertsAre) {
  Scene scene;
  const auto cases = cases_of({8});
  Progress progress(&scene.out, 80, cases, scene.clock);
  progress.begin(cases[0]);
  scene.taken();
  const auto shown = [&](LoadRange load) {
    scene.now += 1;
    progress.sampled(cases[0], {1000, 1, load});
    return scene.taken();
  };
  EXPECT_EQ(shown({1.251, 1.249}),
            "\r\033[K[1/1] layer experts=8 engine=loop  1.00 ms ±1.0 %  max/mean 1.25");
  EXPECT_EQ(shown({1, 2.5}),
            "\r\033[K[1/1] layer experts=8 engine=loop  1.00 ms ±1.0 %  max/mean 1.00 to 2.50");
  EXPECT_EQ(shown({}), "\r\033[K[1/1] layer experts=8 engine=loop  1.00 ms ±1.0 %")
      << "a subject without a gate";
  Progress narrow(&scene.out, 40, cases, scene.clock);
  narrow.begin(cases[0]);
  scene.taken();
  narrow.sampled(cases[0], {1000, 1, {1, 2.5}});
  EXPECT_EQ(scene.taken(), "\r\033[K[1/1] layer experts=8 …  1.00 ms ±1.0 %") << "the load gives way first";
}

TEST(Progress, NamesThePhase) {
  Scene scene;
  const auto cases = cases_of({8});
  Progress progress(&scene.out, 80, cases, scene.clock);
  progress.begin(cases[0]);
  progress.phase(cases[0], "checking");
  EXPECT_EQ(
      scene.taken(),
      "\r\033[K[1/1] layer experts=8 engine=loop  …\r\033[K[1/1] layer experts=8 engine=loop  checking …");
}

/// Peaks take 12 s, the rest of the first case 1 s.
void measure_first(Scene& scene, const std::vector<Case>& cases) {
  Progress progress(&scene.out, 0, cases, scene.clock);
  Record record = example::record(8, "loop", 1830);
  progress.begin(cases[0]);
  progress.phase(cases[0], "measuring peaks");
  scene.now = 12;
  progress.phase(cases[0], "checking");
  scene.now = 13;
  record.bench_case = cases[0];
  progress.end(record);
}

TEST(Progress, ExpectsPeaksToBeMeasuredOncePerNumberOfRanks) {
  Scene scene;
  std::vector<Case> cases = cases_of({8, 16, 32, 64});
  cases[2].shape.ranks = cases[3].shape.ranks = 2;
  measure_first(scene, cases);
  // Three cases of 1 s, and peaks once more, for two ranks.
  EXPECT_EQ(scene.taken(), "[1/4] layer experts=8 engine=loop  1.83 ms ±0.50 %  max/mean 4.00  ETA 0:15\n");
}

TEST(Progress, ExpectsPeaksToBeMeasuredOncePerNumberOfThreads) {
  Scene scene;
  std::vector<Case> cases = cases_of({8, 16, 32});
  cases[1].threads = 1;
  cases[2].threads = 2;
  measure_first(scene, cases);
  // Two cases of 1 s, and peaks twice more.
  EXPECT_EQ(scene.taken(), "[1/3] layer experts=8 engine=loop  1.83 ms ±0.50 %  max/mean 4.00  ETA 0:26\n");
}

TEST(Progress, SaysOnceThatACaseWasInterrupted) {
  Scene scene;
  const auto cases = cases_of({8});
  Progress progress(&scene.out, 0, cases, scene.clock);
  progress.end(example::without_time(8, Status::interrupted, "interrupted by SIGINT"));
  EXPECT_EQ(scene.taken(), "[1/1] layer experts=8 engine=loop  interrupted by SIGINT\n");
}

TEST(Progress, SaysNothingWhenQuiet) {
  const auto cases = cases_of({8});
  Progress progress(nullptr, 80, cases, [] { return 0.0; });
  const Record record = example::record(8, "loop", 1);
  progress.begin(record.bench_case);
  progress.end(record);
  progress.note("nothing");
}

}  // namespace
}  // namespace moebench
