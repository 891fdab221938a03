// SPDX-License-Identifier: Apache-2.0
// Spins, then yields, until the deadline.
#include "comm/backoff.h"

#include <sched.h>

#include <algorithm>

#include "base/interrupt.h"

namespace moebench {
namespace {

constexpr int kSpins = 200;            // some tens of microseconds of a library's progress
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

Backoff::Backoff(double limit_s, bool crowded) : deadline_(limit_s), spins_left_(crowded ? 0 : kSpins) {}

bool Backoff::again() {
  throw_if_interrupted();
  if (spins_left_ > 0)
    --spins_left_;
  else
    sched_yield();
  return !deadline_.passed();
}

}  // namespace moebench
