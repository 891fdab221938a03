// SPDX-License-Identifier: Apache-2.0
#include "base/deadline.h"

#include <algorithm>

namespace moebench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLongestWaitS = 1e9;  // 30 years: keeps the deadline inside the clock's range

Clock::duration duration_of(double limit_s) {
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(std::clamp(limit_s, 0.0, kLongestWaitS)));
}

}  // namespace

Clock::time_point deadline_in(double limit_s) { return Clock::now() + duration_of(limit_s); }

Clock::duration stood_still(Deadline::Time before, Deadline::Time now) {
  constexpr std::chrono::milliseconds kGap{700};  // no loop here looks less often, not even on a busy machine
  return now - before > kGap ? now - before : Clock::duration::zero();
}

Deadline::Deadline(double limit_s, Time now) : end_(now + duration_of(limit_s)), seen_(now) {}

bool Deadline::passed(Time now) {
  end_ += stood_still(seen_, now);
  seen_ = now;
  return now >= end_;
}

}  // namespace moebench
