// SPDX-License-Identifier: Apache-2.0
// Ranks that the user asked for with --ranks and no launcher started.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/options.h"

namespace moebench {

/// If no launcher started this process and the sweep wants several ranks, runs it on as many of this host:
/// over NCCL if each has a GPU to itself, else under mpirun. Returns the run's exit code; nothing if
/// this process is to run it.
std::optional<ExitCode> start_ranks(const Options& options, const std::vector<std::string>& argv);

/// The one word a flag has over the whole sweep: ranks and backend are opened once, for all cases.
std::string only_word(const SweepRequest& request, std::string_view flag);

}  // namespace moebench
