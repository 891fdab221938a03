// SPDX-License-Identifier: Apache-2.0
// What a rank was started with, to be compared with the other ranks'.
#pragma once

#include <string>
#include <vector>

#include "cli/options.h"
#include "comm/world.h"

namespace moebench {

/// Command, flags and MOEBENCH_ variables, and the build. Left out is what only rank 0 looks at, such as --json, and
/// variables that mean nothing.
Identity identity_of(const std::vector<std::string>& argv, const Variables& environment);

}  // namespace moebench
