// SPDX-License-Identifier: Apache-2.0
// The ranks that a test program under mpirun runs on.
#pragma once

#include <string>

#include "comm/world.h"

namespace moebench {

/// The one world of this program; made by tests/mpi/main.cpp before the first test.
World& world_under_test();

/// N of "--ranks N" at the end of a command line that no launcher started; else 0.
inline int ranks_to_start(int argc, char** argv) {
  const bool asks = argc > 2 && std::string(argv[argc - 2]) == "--ranks";
  return asks && detect_launch().launcher.empty() ? std::stoi(argv[argc - 1]) : 0;
}

/// Makes it: each program links one of mpi_world.cpp, nccl_world.cpp.
std::unique_ptr<World> make_world_under_test(double timeout_s);
/// Memory that the host cannot reach, but the world's Comm can.
std::unique_ptr<Memory> make_device_memory();

}  // namespace moebench
