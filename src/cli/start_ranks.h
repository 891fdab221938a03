// SPDX-License-Identifier: Apache-2.0
// Ranks that the user asked for with --ranks and no launcher started.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/options.h"

namespace moebench {

/// How many ranks start_ranks() starts for this sweep on this host; 1 if it starts none.
int ranks_to_start(const SweepAxes& axes);

/// If no launcher started this process and the sweep wants several ranks, runs it on as many of this host:
/// over NCCL if each has a GPU to itself, else under mpirun. Returns the run's exit code; nothing if
/// this process is to run it.
std::optional<ExitCode> start_ranks(const Options& options, const SweepAxes& axes,
                                    const std::vector<std::string>& argv);

/// The same without a sweep to look at: `ranks` of ranks_to_start(), over NCCL or mpirun.
ExitCode start(int ranks, const SweepAxes& axes, const std::vector<std::string>& argv);

}  // namespace moebench
