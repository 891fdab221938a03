// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/watchdog.h"

#include <mpi.h>

namespace moebench {
namespace {

int rank_here() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

}  // namespace

// MPI was promised calls from one thread, and that thread is lost. Should this fail, the launcher sees the
// exit.
MpiWatchdog::MpiWatchdog(double limit_s, std::string call)
    : Watchdog(limit_s, rank_here(), std::move(call), [](int code) { MPI_Abort(MPI_COMM_WORLD, code); }) {}

}  // namespace moebench
