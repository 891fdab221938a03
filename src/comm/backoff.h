// SPDX-License-Identifier: Apache-2.0
// The back-off of a loop that polls.
#pragma once

#include "base/deadline.h"

namespace moebench {

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
