// SPDX-License-Identifier: Apache-2.0
#include "base/deadline.h"

#include <algorithm>

namespace moebench {
namespace {

constexpr double kLongestWaitS = 1e9;  // 30 years: keeps the deadline inside the clock's range

}  // namespace

std::chrono::steady_clock::time_point deadline_in(double limit_s) {
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double>(std::clamp(limit_s, 0.0, kLongestWaitS)));
}

std::chrono::steady_clock::duration stood_still(Deadline::Time before, Deadline::Time now) {
  constexpr std::chrono::milliseconds kGap{700};  // no loop here looks less often, not even on a busy machine
  return now - before > kGap ? now - before : std::chrono::steady_clock::duration::zero();
}

Deadline::Deadline(double limit_s, Time now)
    : end_(now + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                     std::chrono::duration<double>(std::clamp(limit_s, 0.0, kLongestWaitS)))),
      seen_(now) {}

bool Deadline::passed(Time now) {
  end_ += stood_still(seen_, now);
  seen_ = now;
  return now >= end_;
}

}  // namespace moebench
