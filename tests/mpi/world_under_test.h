// SPDX-License-Identifier: Apache-2.0
// The ranks that a test program under mpirun runs on.
#pragma once

#include "comm/world.h"

namespace moebench {

/// The one world of this program; made by tests/mpi/main.cpp before the first test.
World& world_under_test();

/// Makes it: each program links one of mpi_world.cpp, nccl_world.cpp.
std::unique_ptr<World> make_world_under_test(double timeout_s);
/// Memory that the host cannot reach, but the world's Comm can.
std::unique_ptr<Memory> make_device_memory();

}  // namespace moebench
