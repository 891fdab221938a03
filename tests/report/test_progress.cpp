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

TEST(Progress, IsOnePlainLinePerCaseWithoutATerminal) {
  Scene scene;
  Progress progress(&scene.out, 0, 3, scene.clock);
  const Record first = example::record(8, "loop", 1830), second = example::record(16, "loop", 1830);
  progress.begin(first.measured);
  progress.sampled(1830, 5);
  EXPECT_EQ(scene.taken(), "");
  scene.now = 21;
  progress.end(first);
  EXPECT_EQ(scene.taken(), "[1/3] layer experts=8 engine=loop  1.83 ms ±0.50 %  ETA 0:42\n");
  progress.begin(second.measured);
  scene.now = 42;
  progress.end(second);
  EXPECT_EQ(scene.taken(), "[2/3] layer experts=16 engine=loop  1.83 ms ±0.50 %  ETA 0:21\n");
}

TEST(Progress, IsOneChangingLineOnATerminal) {
  Scene scene;
  Progress progress(&scene.out, 60, 2, scene.clock);
  const Record record = example::record(8, "loop", 1830);
  progress.begin(record.measured);
  progress.sampled(1900, 3.21);
  progress.sampled(1800, 3);  // too soon after the last
  EXPECT_EQ(scene.taken(),
            "\r\033[K[1/2] layer experts=8 engine=loop  …"
            "\r\033[K[1/2] layer experts=8 engine=loop  1.90 ms ±3.2 %");
  scene.now = 10;
  progress.end(record);
  EXPECT_EQ(scene.taken(),
            "\r\033[K[1/2] layer experts=8 engine=loop  1.83 ms ±0.50 %  ETA 0:1");  // 59 columns
}

TEST(Progress, NamesThePhaseOfTheCaseOnATerminal) {
  Scene scene;
  Progress progress(&scene.out, 80, 1, scene.clock);
  progress.begin(example::record(8, "loop", 1).measured);
  scene.taken();
  progress.phase("checking");
  EXPECT_EQ(scene.taken(), "\r\033[K[1/1] layer experts=8 engine=loop  checking");
  Progress plain(&scene.out, 0, 1, scene.clock);
  plain.begin(example::record(8, "loop", 1).measured);
  scene.taken();
  plain.phase("checking");
  EXPECT_EQ(scene.taken(), "");
}

TEST(Progress, NeverWrapsALiveLine) {
  Scene scene;
  Progress progress(&scene.out, 10, 1, scene.clock);
  progress.begin(example::record(8, "loop", 1).measured);
  EXPECT_EQ(scene.taken(), "\r\033[K[1/1] lay");
}

TEST(Progress, KeepsAFailureOnTheScreen) {
  Scene scene;
  Progress progress(&scene.out, 80, 1, scene.clock);
  const Record record = example::without_time(8, Status::skipped, "needs 12 GB");
  progress.begin(record.measured);
  scene.taken();
  progress.end(record);
  EXPECT_EQ(scene.taken(), "\r\033[K[1/1] layer experts=8 engine=loop  skipped: needs 12 GB\n");
}

TEST(Progress, DoesNotCountHeldCasesInItsEstimate) {
  Scene scene;
  Progress progress(&scene.out, 0, 4, scene.clock);
  const Record record = example::record(8, "loop", 1830);
  progress.held(record.measured);
  progress.held(record.measured);
  EXPECT_EQ(scene.taken(),
            "[1/4] layer experts=8 engine=loop  held\n[2/4] layer experts=8 engine=loop  held\n");
  progress.begin(record.measured);
  scene.now = 10;
  progress.end(record);
  EXPECT_EQ(scene.taken(), "[3/4] layer experts=8 engine=loop  1.83 ms ±0.50 %  ETA 0:10\n");
}

TEST(Progress, SaysNothingWhenQuiet) {
  Progress progress(nullptr, 80, 1, [] { return 0.0; });
  const Record record = example::record(8, "loop", 1);
  progress.begin(record.measured);
  progress.end(record);
  progress.note("nothing");
}

}  // namespace
}  // namespace moebench
