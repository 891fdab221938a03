// SPDX-License-Identifier: Apache-2.0
// A watchdog for calls into MPI that wait for other ranks and cannot be polled.
#pragma once

#include <string>

#include "comm/watchdog.h"

namespace moebench {

/// A Watchdog that aborts the ranks through MPI_Abort.
class MpiWatchdog : public Watchdog {
 public:
  MpiWatchdog(double limit_s, std::string call);
};

}  // namespace moebench
