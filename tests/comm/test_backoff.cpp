// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "comm/backoff.h"

namespace moebench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Deadline, PassesWhenItsTimeIsOver) {
  const Deadline::Time start{};
  Deadline deadline(1, start);
  for (int ms = 0; ms < 1000; ms += 100) EXPECT_FALSE(deadline.passed(start + milliseconds(ms))) << ms;
  EXPECT_TRUE(deadline.passed(start + seconds(1)));
}

TEST(Deadline, DoesNotCountTimeInWhichTheProcessWasStopped) {
  const Deadline::Time start{};
  Deadline deadline(1, start);
  EXPECT_FALSE(deadline.passed(start + milliseconds(400)));
  EXPECT_FALSE(deadline.passed(start + seconds(60))) << "stopped for a minute: it has 600 ms left";
  EXPECT_FALSE(deadline.passed(start + seconds(60) + milliseconds(500)));
  EXPECT_TRUE(deadline.passed(start + seconds(60) + milliseconds(600)));
}

TEST(Deadline, OfAnEndlessWaitNeverPasses) {
  const Deadline::Time start{};
  Deadline deadline(1e300, start);
  EXPECT_FALSE(deadline.passed(start + std::chrono::hours(24 * 365)));
}

}  // namespace
}  // namespace moebench
