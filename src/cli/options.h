// SPDX-License-Identifier: Apache-2.0
// The command line and the environment as plain data.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bench/links.h"
#include "bench/sampling.h"
#include "project/memory_plan.h"
#include "project/projection.h"
#include "suite/sweep.h"

namespace moebench {

enum class Command {
  run,
  verify,
  compare,
  ab,
  report,
  memory,
  project,
  links,
  calibrate,
  trace,
  info,
  list,
  help,
  version
};
std::string_view name_of(Command command);
/// Those that a user types, in the order of help.
std::vector<Command> all_commands();

/// Of `links` and `calibrate`.
struct LinksOptions {
  std::vector<std::int64_t> bytes;  ///< to each peer; empty: a default range
  std::optional<LinkWay> way;       ///< whose times are fitted; nothing: the fastest
  std::string name = "calibrated";  ///< of the fabric
};

/// All that a user can say. Which fields a command looks at is in the table of options_flags.h.
struct Options {
  Command command = Command::help;
  std::vector<std::string>
      arguments;  ///< compare: two reports; ab: two programs; report: one; help and list: a topic, or none
  std::vector<std::string> common;  ///< ab: the flags after --, of both programs
  SweepRequest sweep;
  Sampling sampling;
  bool min_time_given = false, max_time_given = false;  ///< a default gives way to the other one
  std::string json, csv;                                ///< files to write; empty for none
  std::string peaks;                                    ///< file that keeps this machine's peaks
  std::vector<std::string> columns;                     ///< more columns of the table
  std::set<std::string, std::less<>> given;  ///< names of flags that were given, here or as variables
  std::string output;                        ///< report: the page to write; trace: the trace
  bool samples = false;                      ///< keep every sample in the report
  bool plan = false;                         ///< print the cases, run nothing
  bool resume = false;                       ///< skip what the report at `json` already holds
  bool force = false;                        ///< replace the report at `json`
  bool profile = false;                      ///< a few iterations for a profiler, instead of a measurement
  std::string trace;         ///< file for a timeline of a few iterations, instead of a measurement
  bool quiet = false;        ///< no progress on stderr
  double timeout_s = 300;    ///< longest wait between ranks
  std::string rendezvous;    ///< host:port where ranks without MPI meet; empty: the launcher's
  double threshold_pct = 2;  ///< compare, ab: slower by more than this is a regression
  bool markdown = false;     ///< compare, ab: print Markdown
  bool paired = false;       ///< compare: the reports of two directories ran in turns
  int repetitions = 0;       ///< run: processes, from 2 on; ab: processes of each program, 0 for the default
  ProjectRequest project;    ///< project
  MemoryRequest memory;      ///< memory
  LinksOptions links;        ///< links, calibrate
  std::string keep;          ///< ab: directory for the reports; empty: they are removed
  std::vector<std::string> warnings;  ///< MOEBENCH_ variables that mean nothing
};

/// Puts in order what depends on several flags. Throws UsageError for what does not go together.
void settle(Options& options);

/// MOEBENCH_… variables of this process, by name.
using Variables = std::map<std::string, std::string>;
Variables moebench_variables();

/// "MOEBENCH_TOP_K" for "top-k".
std::string variable_of(std::string_view flag);

/// No arguments ask for help. -h after any command asks for that command's help. Reads no files. Throws
/// UsageError: one line, what was given and what is valid.
Options parse_options(int argc, const char* const* argv, const Variables& environment);

}  // namespace moebench
