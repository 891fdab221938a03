// SPDX-License-Identifier: Apache-2.0
// Deadlines, and the back-off of a loop that polls.
#pragma once

#include <chrono>

namespace moebench {

/// `limit_s` from now, kept inside the clock's range.
std::chrono::steady_clock::time_point deadline_in(double limit_s);

/// The end of a wait. Time in which this process did not run (it was stopped, or the machine slept) does not count:
/// messages may have arrived meanwhile.
class Deadline {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit Deadline(double limit_s, Time now = std::chrono::steady_clock::now());
  /// To be called at least a few times a second.
  bool passed(Time now = std::chrono::steady_clock::now());

 private:
  Time end_, seen_;
};

/// How long this process was stopped between two polls; zero for a gap that a busy machine explains.
std::chrono::steady_clock::duration stood_still(Deadline::Time before, Deadline::Time now);

/// Spins for a short while, because most waits are short, then yields the core between polls: ranks may outnumber
/// cores, and the rank that is waited for must be scheduled.
class Backoff {
 public:
  /// `crowded`: this host has more ranks than cores, so never spin.
  Backoff(double limit_s, bool crowded);
  /// To be called after a poll without result. False once the limit has passed. Throws Interrupted.
  bool again();

 private:
  Deadline deadline_;
  int spins_left_;
};

}  // namespace moebench
