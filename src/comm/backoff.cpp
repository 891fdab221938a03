// SPDX-License-Identifier: Apache-2.0
// Spins, then yields, until the deadline.
#include "comm/backoff.h"

#include <sched.h>

#include "base/interrupt.h"

namespace moebench {
namespace {

constexpr int kSpins = 200;  // some tens of microseconds of a library's progress

}  // namespace

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
