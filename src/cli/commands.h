// SPDX-License-Identifier: Apache-2.0
// What the user can ask for, one function and one file per command.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/options.h"
#include "cli/run_context.h"
#include "report/comparison.h"

namespace moebench {

/// `run` and `verify`. `argv` goes into the report.
ExitCode run_command(const Options& options, const std::vector<std::string>& argv);
/// `run --profile` and `run --trace FILE`: one case, looked at and not timed. Collective over the context's ranks.
ExitCode trace_command(const Options& options, RunContext& context, std::span<const Case> cases);
ExitCode compare_command(const Options& options);
/// Two programs in turns, process by process.
ExitCode ab_command(const Options& options);
/// A report as a page.
ExitCode report_command(const Options& options);
ExitCode info_command(const Options& options);
ExitCode list_command(const Options& options);
/// The memory of a whole model on many GPUs; needs none.
ExitCode memory_command(const Options& options);
/// `links` and `calibrate`: what the links between ranks give; a fabric made of it. Collective.
ExitCode links_command(const Options& options, const std::vector<std::string>& argv);
/// A layer on GPUs that are not there; needs none.
ExitCode project_command(const Options& options, const std::vector<std::string>& argv);

/// Recorded routings: `record`, `show`, `convert`. `argv` starts ranks.
ExitCode routing_trace_command(const Options& options, const std::vector<std::string>& argv);

/// Throws UsageError if what --json or --csv names exists and --force is not given.
void refuse_to_replace(const Options& options);
/// Prints a comparison, and writes it where --json and --csv say.
void show(const Comparison& comparison, const Options& options);

/// "moebench 0.1.0 (commit …, Release, mpi)".
std::string version_text();

}  // namespace moebench
