// SPDX-License-Identifier: Apache-2.0
// The ranks that a test program under mpirun runs on.
#pragma once

#include "comm/world.h"

namespace moebench {

/// The one world of this program; made by tests/mpi/main.cpp before the first test.
World& world_under_test();

}  // namespace moebench
