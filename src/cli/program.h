// SPDX-License-Identifier: Apache-2.0
// The program: options in, exit code out.
#pragma once

#include "base/error.h"

namespace moebench {

/// Does what the command line says. Every error ends here as one line on stderr and its exit code.
ExitCode run_program(int argc, const char* const* argv);

}  // namespace moebench
