// SPDX-License-Identifier: Apache-2.0
// The world of an MPI job. Names no MPI type: mpi.h stays in this folder's .cpp files and private headers.
#pragma once

#include <memory>

#include "comm/world.h"

namespace moebench {

/// Initialises MPI; without a launcher this is a world of one. MPI ends with the last world made from it.
/// Throws EnvironmentError if this build has no MPI, CommError if MPI fails.
std::unique_ptr<World> make_mpi_world(double timeout_s);

}  // namespace moebench
