// SPDX-License-Identifier: Apache-2.0
// `run` and `verify`: expand the sweep, open the report, run, show.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>

#include "base/host_memory.h"
#include "base/text.h"
#include "bench/repetitions.h"
#include "bench/runner.h"
#include "cli/commands.h"
#include "cli/identity.h"
#include "cli/options_flags.h"
#include "cli/plan.h"
#include "cli/processes.h"
#include "cli/report_head.h"
#include "cli/run_context.h"
#include "cli/run_display.h"
#include "cli/start_ranks.h"
#include "report/grid.h"
#include "report/journal.h"
#include "report/peaks_file.h"
#include "report/sharing.h"
#include "report/terminal.h"
#include "suite/embedded.h"
#include "suite/suite_file.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

constexpr const char* kSmallLayers =
    "no size was given: small layers, which take seconds; --suite, --preset or --tokens … choose others";

/// `ranks`: as many as a run would start.
PlanLimits limits_of(RunContext& context, int ranks) {
  World& world = context.world();
  const Memory& memory = context.backend().memory();
  return {.ranks = std::max(world.size(), ranks),
          .local_ranks = std::max(world.local_size(), ranks),
          .shared_memory = memory.host_accessible(),
          .available_bytes = static_cast<double>(memory.available_bytes()),
          .host_bytes = static_cast<double>(available_host_bytes()),
          .cache_bytes = context.backend().device().cache_bytes};
}

/// The suite's own words for the report. It was read once already, so it can be.
std::optional<SuiteInfo> suite_of(const std::string& name) {
  if (name.empty()) return std::nullopt;
  const Suite suite = find_suite(name);
  SuiteInfo info{suite.name, suite.question, suite.expectation, ""};
  for (const EmbeddedText& built_in : embedded_suites())
    if (built_in.name == name) info.text = built_in.text;
  if (std::ifstream file(name, std::ios::binary); info.text.empty() && file)
    info.text.assign(std::istreambuf_iterator<char>(file), {});
  return info;
}

/// "amd-epyc-9654": lower case, everything else to single dashes.
std::string slug(std::string_view text) {
  std::string result;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)))
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!result.empty() && result.back() != '-')
      result += '-';
  return result;
}

/// A folder stands for a report in it that is named after the device, the commit and the suite.
std::filesystem::path report_path(const std::string& given, const Document& head, const std::string& suite) {
  if (!given.ends_with('/')) return given;
  std::error_code error;
  std::filesystem::create_directories(given, error);
  if (error) throw EnvironmentError(cat("cannot make the directory ", given, ": ", error.message()));
  const std::string& device =
      head.machine.gpus.empty() ? head.environment.cpu.model : head.machine.gpus.front().name;
  const std::string commit = head.tool.commit.empty() ? "no-commit" : head.tool.commit.substr(0, 10);
  return cat(given, slug(device), "-", commit, head.tool.dirty ? "-modified" : "", suite.empty() ? "" : "-",
             slug(suite), ".json");
}

/// Whether `path` is what an earlier --csv wrote: its first column says so.
bool is_table(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  return std::getline(file, line) && line.starts_with("id,status,");
}

/// Whether --csv may replace a file: one that is there now, and that --force or --resume speaks of. Throws if it can
/// not be written.
bool csv_replaces(const Options& options) {
  if (options.csv.empty() || options.csv == "-") return false;
  require_writable(options.csv);
  std::error_code error;
  if (!std::filesystem::exists(options.csv, error)) return options.force;
  if (options.force || (options.resume && is_table(options.csv))) return true;
  throw UsageError(options.resume
                       ? cat(options.csv, " already exists and is no table of moebench; give another --csv")
                       : cat(options.csv, " already exists; give --force to replace it"));
}

/// Opens the report before the first case. Null without --json.
std::unique_ptr<Journal> open_journal(const Options& options, Document head, const std::string& suite) {
  if (options.json.empty()) return nullptr;
  if (options.json == "-") return std::make_unique<Journal>(std::move(head), options.samples);
  const auto path = report_path(options.json, head, suite);
  const OnExisting on_existing = options.force    ? OnExisting::replace
                                 : options.resume ? OnExisting::resume
                                                  : OnExisting::refuse;
  return std::make_unique<Journal>(path, on_existing, std::move(head), options.samples);
}

/// Does `work` on rank 0; if it fails there, throws the same error on every rank.
template <class Work>
void on_first_rank(World& world, Work work) {
  std::string failure;
  ExitCode code = ExitCode::ok;
  if (world.rank() == 0) {
    try {
      work();
    } catch (const Error& error) {
      code = error.code();
      failure = error.what();
    } catch (const std::exception& error) {  // the other ranks wait for this message
      code = ExitCode::internal;
      failure = cat("internal error: ", error.what());
    }
  }
  failure = world.broadcast(failure);
  const auto agreed = to_int(world.broadcast(cat(static_cast<int>(code))));
  if (!failure.empty()) throw Error(static_cast<ExitCode>(agreed.value_or(1)), failure);
}

/// Takes what the resumed report already holds out of the sweep; every rank does the same.
std::vector<Case> still_to_run(const std::vector<Case>& cases, const Sampling& sampling, World& world,
                               Journal* journal, RunDisplay* show) {
  std::string held;
  for (const Case& bench_case : cases) {
    const Record* record = journal ? journal->reuse(bench_case, sampling.check, sampling.recheck) : nullptr;
    held += record ? '1' : '0';
    if (record) show->already_measured(*record);
  }
  held = world.broadcast(held);
  std::vector<Case> left;
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (held[i] == '0') left.push_back(cases[i]);
  return left;
}

/// Shows the warnings of the report from the `said`-th on: those about what a resumed report holds.
void warn_of_held(Journal& journal, std::span<const Case> to_measure, std::size_t said, RunDisplay& show) {
  journal.settle_held(to_measure);
  const auto& warnings = journal.document().warnings;
  for (std::size_t i = said; i < warnings.size(); ++i) show.warn(warnings[i]);
}

Sampling sampling_of(const Options& options) {
  Sampling sampling = options.sampling;
  sampling.check_only = options.command == Command::verify;
  return sampling;
}

/// With the peaks that --peaks keeps of this machine, the same on every rank. `machine`: on rank 0.
Sampling sampling_with_peaks(const Options& options, const Machine& machine, RunContext& context) {
  Sampling sampling = sampling_of(options);
  if (options.peaks.empty()) return sampling;
  World& world = context.world();
  Json kept = Json::array();
  on_first_rank(world, [&] {
    for (const Peaks& peaks : read_peaks(options.peaks, place_of(machine), context.backend().name()))
      kept.push_back(to_json(peaks));
  });
  for (const Json& peaks : Json::parse(world.broadcast(kept.dump())))
    sampling.known_peaks.push_back(peaks_from_json(peaks, "peaks: "));
  return sampling;
}

/// Finishes the report. A failure must not cost the table; on a disk that was full before, it is no news.
bool merge(Journal& journal, RunOutcome& outcome) {
  try {
    journal.finish(outcome.code, outcome.code == ExitCode::interrupted);
    return true;
  } catch (const EnvironmentError& error) {
    if (outcome.code == ExitCode::environment) return false;
    if (outcome.message.empty()) outcome.code = ExitCode::environment;
    outcome.message += cat(outcome.message.empty() ? "" : "; ", error.what());
    return false;
  }
}

/// Writes the CSV table. A failure must not cost what else the run has to say.
void keep_csv(const RunDisplay& show, const Document& report, bool replaces, RunOutcome& outcome) {
  try {
    show.write_csv(report, replaces);
  } catch (const EnvironmentError& error) {
    if (outcome.message.empty()) outcome.code = ExitCode::environment;
    outcome.message += cat(outcome.message.empty() ? "" : "; ", error.what());
  }
}

/// Writes the report and the CSV table and prints the tables. `about`: the report without points.
void finish(const Options& options, RunDisplay& show, Journal* journal, const Document& about,
            bool replaces_csv, RunOutcome& outcome) {
  const bool kept = journal && merge(*journal, outcome);
  show.print_tables(about);
  if (!options.csv.empty()) keep_csv(show, about, replaces_csv, outcome);
  if (!outcome.message.empty()) std::cerr << "moebench: " << outcome.message << std::endl;
  if (kept && !journal->file().empty()) show.note(cat("report: ", journal->file().string()));
}

/// After an error that some ranks may not know of: rank 0 has said all it has to, the others give it time for
/// that.
void leave(World& world, LostRanks* watched, const RunOutcome& outcome) {
  constexpr unsigned kGrace_s = 3;
  if (world.rank() != 0) {
    if (outcome.code != ExitCode::interrupted) std::cerr << "moebench: " << outcome.message << std::endl;
    sleep(kGrace_s);
  }
  if (watched) watched->end_by_itself();
  std::cout.flush();
  world.abort(static_cast<int>(outcome.code));
}

/// The words of one process of several: without what says how many there are and what is written where.
std::vector<std::string> words_of_one(const std::vector<std::string>& argv) {
  std::vector<std::string> words{this_program()};
  for (std::size_t i = 1; i < argv.size(); ++i) {
    const std::string name = argv[i].substr(0, argv[i].find('='));
    if (name == "--json" || name == "--csv" || name == "--repetitions")
      i += argv[i] == name;  // its value is the next word
    else if (name != "--force" && name != "--quiet")
      words.push_back(argv[i]);
  }
  return words;
}

/// The point of each report that is `like`, in the order of the reports.
std::vector<Record> of_each(const std::vector<Document>& documents, const Record& like) {
  std::vector<Record> records;
  for (const Document& document : documents)
    for (const Record& record : document.points)
      if (record.id == like.id) records.push_back(record);
  return records;
}

/// `run --repetitions N`: as many processes, one report from all of them.
ExitCode repeat_command(const Options& options, const std::vector<std::string>& argv) {
  if (!detect_launch().launcher.empty())
    throw UsageError(
        "--repetitions starts its processes itself: without a launcher, and with --ranks for several ranks");
  if (options.resume) throw UsageError("--repetitions and --resume: give one");
  Document head = head_of(argv, {});
  forget_output_variables();
  const ReportDirectory directory("");
  std::vector<Document> documents;
  for (int i = 0; i < options.repetitions; ++i) {
    if (!options.quiet) std::cerr << "[process " << i + 1 << "/" << options.repetitions << "]" << std::endl;
    documents.push_back(run_process(words_of_one(argv), directory.path() / format("%03d.json", i + 1)));
  }
  head.machine = documents.front().machine;
  const bool replaces_csv = csv_replaces(options);
  std::vector<Case> cases;
  for (const Record& record : documents.front().points) cases.push_back(record.bench_case);
  Document about = head;
  const auto journal = open_journal(options, std::move(head), "");
  RunDisplay show(options, cases);
  show.write_to(journal.get());
  for (const Peaks& peaks : documents.front().peaks) show.peaks(peaks);
  RunOutcome outcome;
  for (const Record& record : documents.front().points) show.end(combine(of_each(documents, record)));
  for (const Document& document : documents)
    outcome.code = std::max(outcome.code, static_cast<ExitCode>(document.run.exit_code));
  finish(options, show, journal.get(), about, replaces_csv, outcome);
  return outcome.code;
}

void show_plan(const Options& options, RunContext& context, const SweepAxes& axes, const Sweep& sweep) {
  std::ostringstream plan;
  print_plan(plan, sweep, sampling_of(options), context.backend(), limits_of(context, ranks_to_start(axes)));
  std::cout << folded(plan.str(), static_cast<std::size_t>(terminal_columns(STDOUT_FILENO)));
}

}  // namespace

/// What `verify` checks if no experiment and no size is given: small enough to wait for.
Settings verify_defaults(const SweepRequest& sweep) {
  bool sized = !sweep.suite.empty() || !sweep.preset.empty() || sweep.scale != 1;
  for (const char* flag :
       {"tokens", "total-tokens", "hidden", "ffn", "experts", "experts-per-rank", "top-k", "subject"})
    sized |= sweep.command_line.contains(flag) || sweep.environment.contains(flag);
  if (sized) return {};
  return {
      {"tokens", "256"}, {"hidden", "256"}, {"ffn", "512"}, {"activation", "gelu,swiglu"}, {"bias", "on"}};
}

/// What the suite says of how to measure, where neither the command line nor the environment does.
Options with_method_of_suite(const Options& given) {
  Options options = given;
  if (options.command == Command::verify) options.sweep.fallback = verify_defaults(options.sweep);
  if (options.sweep.suite.empty()) return options;
  const Suite suite = find_suite(options.sweep.suite);
  for (const auto& [flag, text] : suite.method) {
    if (given.given.contains(flag) || options.command == Command::verify) continue;
    try {
      Settings none;
      apply_flag(options, none, flag, text);
    } catch (const UsageError& error) {
      throw UsageError(cat("suite ", suite.name, ": ", flag, ": ", error.what()));
    }
  }
  settle(options);
  return options;
}

ExitCode run_command(const Options& given, const std::vector<std::string>& argv) {
  Options options = with_method_of_suite(given);
  if (options.repetitions > 1) return repeat_command(options, argv);
  const SweepAxes axes = read_sweep(options.sweep);
  if (const auto code = start_ranks(options, axes, argv)) return *code;
  RunContext context(axes.only("backend"), {.comm = axes.only("comm"),
                                            .rendezvous = options.rendezvous,
                                            .timeout_s = options.timeout_s,
                                            .identity = identity_of(argv, moebench_variables())});
  World& world = context.world();
  const Sweep sweep = expand_sweep(axes, context.capabilities());
  if (options.plan) {
    if (world.rank() == 0) show_plan(options, context, axes, sweep);
    return ExitCode::ok;
  }
  if (options.profile || !options.trace.empty()) return trace_command(options, context, sweep.cases);

  const auto watched = world.size() > 1 ? std::make_unique<LostRanks>(world) : nullptr;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<RunDisplay> show;
  Machine machine = context.describe();
  bool replaces_csv = false;
  std::size_t said = 0;  // rank 0: warnings that were shown
  Document about;        // rank 0: the report without points, also where none is written
  on_first_rank(world, [&] {
    Document head = head_of(argv, std::move(machine));
    head.suite = suite_of(options.sweep.suite);
    head.run.ranks_setup_us = context.ranks_us();
    head.run.backend_setup_us = context.backend_us();
    for (const auto& more : {context.notes(), sharing_of(head.machine)})
      head.warnings.insert(head.warnings.end(), more.begin(), more.end());
    show = std::make_unique<RunDisplay>(options, sweep.cases);
    for (const std::string& sentence : sweep.notes) show->note(sentence);
    if (!options.sweep.fallback.empty()) show->note(kSmallLayers);
    for (const std::string& sentence : head.warnings) show->warn(sentence);
    show->show_ranks(head.machine);
    replaces_csv = csv_replaces(options);
    about = head;
    said = head.warnings.size();
    journal = open_journal(options, std::move(head), axes.suite);
    show->write_to(journal.get());
    show->watch(watched.get());
  });
  const auto cases = still_to_run(sweep.cases, options.sampling, world, journal.get(), show.get());
  if (journal) warn_of_held(*journal, cases, said, *show);

  RunObserver silent;
  RunOutcome outcome = run_cases(cases, sampling_with_peaks(options, about.machine, context), context.bench(),
                                 show ? *show : silent);
  if (show) {
    show->sort_like(sweep.cases);
    if (journal) about.earlier_runs = journal->document().earlier_runs;
    finish(options, *show, journal.get(), about, replaces_csv, outcome);
  }
  if (outcome.ranks_lost) leave(world, watched.get(), outcome);
  return outcome.code;
}

}  // namespace moebench
