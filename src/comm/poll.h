// SPDX-License-Identifier: Apache-2.0
// The pace and the limit of a loop that waits by asking.
#pragma once

#include <chrono>

namespace moebench {

/// `limit_s` from now, kept inside the clock's range.
std::chrono::steady_clock::time_point deadline_in(double limit_s);

/// When a wait is over. Time in which this process did not run (it was stopped, or the machine slept) does not count:
/// messages may have come in meanwhile, and no other rank is to blame.
class Deadline {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit Deadline(double limit_s, Time now = std::chrono::steady_clock::now());
  /// To be called at least a few times a second.
  bool passed(Time now = std::chrono::steady_clock::now());

 private:
  Time end_, seen_;
};

/// How long a process seems to have stood still between two looks; zero for a gap that is not worth a word.
std::chrono::steady_clock::duration stood_still(Deadline::Time before, Deadline::Time now);

/// Spins for a short while, because most waits are short, then gives the core away between looks: ranks may
/// outnumber cores, and the one that is waited for must get to run.
class Poll {
 public:
  /// `crowded`: this host has more ranks than cores, so never spin.
  Poll(double limit_s, bool crowded);
  /// Called after a look that found nothing. False once the limit has passed. Throws Interrupted.
  bool again();

 private:
  Deadline deadline_;
  int spins_left_;
};

}  // namespace moebench
