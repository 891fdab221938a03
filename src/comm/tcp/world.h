// SPDX-License-Identifier: Apache-2.0
// A world without MPI: numbers and texts over sockets, all through rank 0. It carries no rows.
#pragma once

#include <memory>

#include "comm/launch.h"
#include "comm/world.h"

namespace moebench {

/// Meets the other ranks of `launch` at `place`. Throws TimeoutError, EnvironmentError, and UsageError (on the other
/// ranks a CommError with its exit code) if they were not started alike.
std::unique_ptr<World> make_tcp_world(const Launch& launch, const Rendezvous& place, double timeout_s,
                                      const Identity& identity = {});

}  // namespace moebench
