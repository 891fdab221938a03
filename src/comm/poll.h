// SPDX-License-Identifier: Apache-2.0
// The pace and the limit of a loop that waits by asking.
#pragma once

#include <chrono>

namespace moebench {

/// `limit_s` from now, kept inside the clock's range.
std::chrono::steady_clock::time_point deadline_in(double limit_s);

/// Spins for a short while, because most waits are short, then gives the core away between looks: ranks may
/// outnumber cores, and the one that is waited for must get to run.
class Poll {
 public:
  /// `crowded`: this host has more ranks than cores, so never spin.
  Poll(double limit_s, bool crowded);
  /// Called after a look that found nothing. False once the limit has passed. Throws Interrupted.
  bool again();

 private:
  std::chrono::steady_clock::time_point deadline_;
  int spins_left_;
};

}  // namespace moebench
