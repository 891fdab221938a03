// SPDX-License-Identifier: Apache-2.0
// Reading a launcher's environment, with the environment passed in so that tests can make one up.
#pragma once

#include <functional>

#include "comm/world.h"

namespace moebench {

/// The value of an environment variable, or null: std::getenv, or a test's map.
using Lookup = std::function<const char*(const char*)>;

/// detect_launch() of the environment that `variable` looks up.
Launch detect_launch(const Lookup& variable);

/// Whether the launcher offers PMI or PMIx, through which an MPI library finds the other ranks.
bool offers_pmi(const Lookup& variable);

}  // namespace moebench
