// SPDX-License-Identifier: Apache-2.0
// A shell line that repeats a run.
#pragma once

#include <string>
#include <vector>

#include "cli/options.h"
#include "comm/world.h"

namespace moebench {

/// "MOEBENCH_ENGINE=loop mpirun -np 4 moebench run --experts 8": quoted for a POSIX shell. Without --resume and --force,
/// and what is written has another name, a.repeat.json for a.json: repeating a run leaves what the run wrote alone.
/// The launcher's own options are those of the parent process, where that is mpirun; else a comment says that they are
/// not known. Ranks that moebench started itself need no launcher.
std::string repro_line(const std::vector<std::string>& argv, const Launch& launch,
                       const Variables& environment);

}  // namespace moebench
