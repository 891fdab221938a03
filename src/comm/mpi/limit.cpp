// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/limit.h"

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
MpiLimit::MpiLimit(double limit_s, std::string call)
    : Limit(limit_s, rank_here(), std::move(call), [](int code) { MPI_Abort(MPI_COMM_WORLD, code); }) {}

}  // namespace moebench
