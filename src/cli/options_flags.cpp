// SPDX-License-Identifier: Apache-2.0
#include "cli/options_flags.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "comm/launch.h"
#include "report/extra_columns.h"
#include "suite/filter.h"
#include "suite/flag.h"

namespace moebench {
namespace {

constexpr std::int64_t kMaxIterations = 1000000;

std::int64_t count(std::string_view text, std::int64_t min, std::int64_t max) {
  const auto value = to_int(text);
  if (!value || *value < min || *value > max)
    throw UsageError(cat("'", text, "' is not a whole number from ", min, " to ", max));
  return *value;
}

int iterations(std::string_view text) { return static_cast<int>(count(text, 0, kMaxIterations)); }

double at_least_zero(std::string_view text) {
  const auto value = to_double(text);
  if (!value || *value < 0) throw UsageError(cat("'", text, "' is not a number of at least 0"));
  return *value;
}

double above_zero(std::string_view text) {
  const double value = at_least_zero(text);
  if (value == 0) throw UsageError(cat("'", text, "' is not a number above 0"));
  return value;
}

double fraction(std::string_view text) {
  const auto value = to_double(text);
  if (!value || *value <= 0 || *value > 1) throw UsageError(cat("'", text, "' is not a number in (0, 1]"));
  return *value;
}

/// "2" or "2%".
double percentage(std::string_view text) {
  const auto value = to_double(text.ends_with('%') ? text.substr(0, text.size() - 1) : text);
  if (!value || *value < 0) throw UsageError(cat("'", text, "' is not a percentage of at least 0"));
  return *value;
}

bool on(std::string_view word) { return parse_on(word); }

const std::vector<Command> kRun{Command::run};
const std::vector<Command> kMeasured{Command::run, Command::project};
const std::vector<Command> kSweeps{Command::run, Command::verify};
const std::vector<Command> kJudges{Command::compare, Command::ab};

std::vector<OptionFlag> selection_flags() {
  constexpr std::string_view kGroup = "Which cases";
  return {
      {kGroup, "suite", "NAME|FILE", "", "an experiment: built in, or a .json file", kSweeps,
       [](Options& o, std::string_view v) { o.sweep.suite = v; }},
      {kGroup, "preset", "NAME", "", "the layers of published models, one or several; see 'moebench list'",
       kSweeps, [](Options& o, std::string_view v) { o.sweep.preset = v; }, true},
      {kGroup, "scale", "F", "1", "shrink hidden, ffn and tokens to F of their size, 0 < F <= 1", kSweeps,
       [](Options& o, std::string_view v) { o.sweep.scale = fraction(v); }},
      {kGroup,
       "filter",
       "EXPR",
       "",
       "keep cases where all hold: experts<=16,engine=loop",
       {Command::run, Command::verify, Command::compare, Command::report},
       [](Options& o, std::string_view v) {
         parse_filter(v);
         o.sweep.filter = v;
       }},
      {kGroup, "max-points", "N", "", "keep the first N cases", kSweeps,
       [](Options& o, std::string_view v) {
         o.sweep.max_points = static_cast<std::size_t>(count(v, 1, std::numeric_limits<int>::max()));
       }},
      {kGroup, "plan", "", "", "print the cases and run nothing", kSweeps,
       [](Options& o, std::string_view v) { o.plan = on(v); }},
  };
}

std::vector<OptionFlag> sampling_flags() {
  constexpr std::string_view kGroup = "How to measure";
  return {
      {kGroup, "warmup", "N", "3", "iterations before the first sample, at least", kRun,
       [](Options& o, std::string_view v) { o.sampling.warmup = iterations(v); }},
      {kGroup, "iters", "N", "0", "exactly N samples; 0: until --noise or --max-time", kMeasured,
       [](Options& o, std::string_view v) { o.sampling.iters = iterations(v); }},
      {kGroup, "min-time", "S", "0.2", "seconds to sample each case, at least", kRun,
       [](Options& o, std::string_view v) {
         o.sampling.min_time_s = at_least_zero(v);
         o.min_time_given = true;
       }},
      {kGroup, "max-time", "S", "10", "seconds to sample each case, at most", kMeasured,
       [](Options& o, std::string_view v) {
         o.sampling.max_time_s = above_zero(v);
         o.max_time_given = true;
       }},
      {kGroup, "noise", "PCT", "1", "stop when the median is known this well (half its 95 % interval)", kRun,
       [](Options& o, std::string_view v) { o.sampling.noise_pct = above_zero(v); }},
      {kGroup, "interleave", "", "", "sample the cases in turns, so that drift hits all alike", kRun,
       [](Options& o, std::string_view v) { o.sampling.interleave = on(v); }},
      {kGroup, "no-stages", "", "", "skip the separate pass that times each stage", kRun,
       [](Options& o, std::string_view v) { o.sampling.stages = !on(v); }},
      {kGroup, "no-peaks", "", "", "skip measuring this machine's peaks, and the limits that follow", kRun,
       [](Options& o, std::string_view v) { o.sampling.peaks = !on(v); }},
      {kGroup, "peaks", "FILE", "", "keep this machine's peaks here: measured where it has none of this kind",
       kRun, [](Options& o, std::string_view v) { o.peaks = v; }},
      {kGroup, "no-sensors", "", "", "leave clocks, power and energy unread while samples are taken", kRun,
       [](Options& o, std::string_view v) { o.sampling.sensors = !on(v); }},
      {kGroup, "profile", "", "", "run a few iterations of one case for a profiler; time nothing", kRun,
       [](Options& o, std::string_view v) { o.profile = on(v); }},
      {kGroup, "check", "none|quick|full", "quick; verify: full", "compare results with the oracle first",
       kSweeps, [](Options& o, std::string_view v) { o.sampling.check = parse_check(v); }},
      {kGroup, "recheck", "on|off", "off", "the same check again after timing, on every input set", kRun,
       [](Options& o, std::string_view v) { o.sampling.recheck = on(v); }},
      {kGroup,
       "timeout",
       "S",
       "300",
       "longest wait between ranks, in seconds",
       {Command::run, Command::verify, Command::links, Command::calibrate, Command::trace, Command::info},
       [](Options& o, std::string_view v) { o.timeout_s = above_zero(v); }},
      {kGroup,
       "rendezvous",
       "HOST:PORT",
       "",
       "where ranks without MPI meet, on the host of rank 0; default: what the launcher says",
       {Command::run, Command::verify, Command::links, Command::calibrate, Command::info},
       [](Options& o, std::string_view v) {
         parse_rendezvous(v);
         o.rendezvous = v;
       }},
  };
}

std::vector<OptionFlag> output_flags() {
  constexpr std::string_view kGroup = "Output";
  return {
      {kGroup,
       "json",
       "FILE|DIR/",
       "",
       "write the report here; in DIR/ it is named after device, commit, suite; -: stdout",
       {Command::run, Command::compare, Command::ab},
       [](Options& o, std::string_view v) { o.json = v; }},
      {kGroup,
       "csv",
       "FILE",
       "",
       "write the table here as CSV; -: stdout, and the table goes to stderr",
       {Command::run, Command::compare},
       [](Options& o, std::string_view v) { o.csv = v; }},
      {kGroup,
       "output",
       "FILE",
       "",
       "write the page, or the trace, here, also as -o FILE; of report -: stdout",
       {Command::report, Command::trace},
       [](Options& o, std::string_view v) { o.output = v; }},
      {kGroup, "trace", "FILE", "",
       "write a timeline of a few iterations of one case for Perfetto; time nothing", kRun,
       [](Options& o, std::string_view v) { o.trace = v; }},
      {kGroup, "columns", "NAME", "",
       "more columns: imbalance, spread, dropped, memory, min, max, p95, n, tokens (per "
       "second)",
       kRun, [](Options& o, std::string_view v) { o.columns = parse_columns(v); }, true},
      {kGroup, "samples", "", "", "keep every sample, and the rows of experts in each step, in the report",
       kRun, [](Options& o, std::string_view v) { o.samples = on(v); }},
      {kGroup, "resume", "", "", "skip the cases that the report at --json already holds", kRun,
       [](Options& o, std::string_view v) { o.resume = on(v); }},
      {kGroup,
       "force",
       "",
       "",
       "replace files that exist",
       {Command::run, Command::compare, Command::ab, Command::report},
       [](Options& o, std::string_view v) { o.force = on(v); }},
      {kGroup,
       "quiet",
       "",
       "",
       "no progress on stderr; warnings stay",
       {Command::run, Command::verify, Command::ab},
       [](Options& o, std::string_view v) { o.quiet = on(v); }},
  };
}

std::vector<OptionFlag> process_flags() {
  return {
      {"How to compare", "threshold", "PCT", "2", "slower by more than this is a regression; 2 or 2%",
       kJudges, [](Options& o, std::string_view v) { o.threshold_pct = percentage(v); }},
      {"How to compare",
       "paired",
       "",
       "",
       "the reports of two directories ran in turns, the k-th of A next to the k-th of B",
       {Command::compare},
       [](Options& o, std::string_view v) { o.paired = on(v); }},
      {"How to compare", "markdown", "", "", "print Markdown, for a pull request", kJudges,
       [](Options& o, std::string_view v) { o.markdown = on(v); }},
      {"How to measure",
       "repetitions",
       "N",
       "1",
       "so many processes of the whole run; intervals are then over processes",
       {Command::run},
       [](Options& o, std::string_view v) { o.repetitions = static_cast<int>(count(v, 1, 1000)); }},
      {"How to compare",
       "repetitions",
       "N",
       "10",
       "processes of each program; 8 at least can tell a difference",
       {Command::ab},
       [](Options& o, std::string_view v) { o.repetitions = static_cast<int>(count(v, 1, 1000)); }},
      {"How to compare",
       "keep",
       "DIR",
       "",
       "keep every process's report here",
       {Command::ab},
       [](Options& o, std::string_view v) { o.keep = v; }},
  };
}

std::vector<OptionFlag> all_flags() {
  std::vector<OptionFlag> flags = selection_flags();
  for (auto& flag : sampling_flags()) flags.push_back(std::move(flag));
  for (auto& flag : output_flags()) flags.push_back(std::move(flag));
  for (auto& flag : process_flags()) flags.push_back(std::move(flag));
  for (auto& flag : memory_flags()) flags.push_back(std::move(flag));
  for (auto& flag : project_flags()) flags.push_back(std::move(flag));
  for (auto& flag : links_flags()) flags.push_back(std::move(flag));
  return flags;
}

bool takes_case_flag(Command command, std::string_view flag) {
  if (command == Command::info) return flag == "backend" || flag == "comm";
  if (command == Command::links || command == Command::calibrate)
    return flag == "ranks" || flag == "backend" || flag == "comm";
  if (command == Command::project) {
    constexpr std::string_view kOfALayer[] = {"tokens",  "hidden",     "ffn",    "experts",
                                              "top-k",   "activation", "bias",   "dtype",
                                              "routing", "seed",       "engine", "backend"};
    return std::find(std::begin(kOfALayer), std::end(kOfALayer), flag) != std::end(kOfALayer);
  }
  return command == Command::run || command == Command::verify || command == Command::trace;
}

bool is_flag_of(const OptionFlag& flag, Command command) {
  return std::find(flag.commands.begin(), flag.commands.end(), command) != flag.commands.end();
}

}  // namespace

bool parse_on(std::string_view word) {
  for (const std::string_view yes : {"on", "1", "true", "yes"})
    if (word == yes) return true;
  for (const std::string_view no : {"off", "0", "false", "no"})
    if (word == no) return false;
  throw UsageError(cat("'", word, "' is neither on nor off"));
}

std::span<const OptionFlag> option_flags() {
  static const std::vector<OptionFlag> kFlags = all_flags();
  return kFlags;
}

std::vector<FlagLine> flags_of(Command command) {
  std::vector<FlagLine> lines;
  for (const Flag& flag : flags())
    if (takes_case_flag(command, flag.name))
      lines.push_back({kCaseGroup, flag.name, flag.value, flag.default_value, flag.help, !flag.per_run});
  for (const OptionFlag& flag : option_flags())
    if (is_flag_of(flag, command))
      lines.push_back({flag.group, flag.name, flag.value, flag.default_value, flag.help, flag.list});
  return lines;
}

void apply_flag(Options& options, Settings& settings, std::string_view flag, std::string_view text) {
  for (const OptionFlag& known : option_flags()) {
    if (known.name != flag || !is_flag_of(known, options.command)) continue;
    if (text.empty()) throw UsageError("needs a value");
    known.apply(options, text);
    return;
  }
  set(settings, flag, text);
}

}  // namespace moebench
