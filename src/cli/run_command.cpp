// SPDX-License-Identifier: Apache-2.0
// `run` and `verify`: expand the sweep, open the report, run, show.
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>

#include "base/text.h"
#include "bench/runner.h"
#include "cli/commands.h"
#include "cli/plan.h"
#include "cli/repro.h"
#include "cli/start_ranks.h"
#include "cli/workplace.h"
#include "report/check_table.h"
#include "report/csv.h"
#include "report/journal.h"
#include "report/progress.h"
#include "report/table.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

/// `ranks`: as many as a run would start.
PlanLimits limits_of(Workplace& workplace, int ranks) {
  World& world = workplace.world();
  const Memory& memory = workplace.backend().memory();
  return {.ranks = std::max(world.size(), ranks),
          .local_ranks = std::max(world.local_size(), ranks),
          .shared_memory = memory.host_accessible(),
          .available_bytes = static_cast<double>(memory.available_bytes()),
          .cache_bytes = workplace.backend().device().cache_bytes};
}

/// What rank 0 shows and keeps of a run: progress, the growing report, the table at the end.
class Show final : public RunObserver {
 public:
  Show(const Options& options, int cases)
      : options_(options), progress_(make_progress(cases, options.quiet)) {}

  void write_to(Journal* journal) { journal_ = journal; }
  void held(const Record& record) {
    progress_.held(record.measured);
    records_.push_back(record);
  }
  void note(const std::string& sentence) { progress_.note(sentence); }

  void begin(const Case& measured) override { progress_.begin(measured); }
  void phase(std::string_view name) override { progress_.phase(name); }
  void sampled(double median_us, double error_pct) override { progress_.sampled(median_us, error_pct); }
  void peaks(const Peaks& peaks) override {
    if (journal_) journal_->add(peaks);
  }
  void end(const Record& found) override {
    Record record = found;
    record.id = id_of(record.measured);
    progress_.end(record);
    records_.push_back(record);
    if (journal_) journal_->add(std::move(record));
  }

  /// In the order of the sweep: interleaved cases end in any order, and a resumed report holds some beforehand.
  void sort_like(const std::vector<Case>& cases) {
    std::map<std::string, std::size_t> place;
    for (const Case& measured : cases) place.emplace(id_of(measured), place.size());
    std::stable_sort(records_.begin(), records_.end(),
                     [&](const Record& a, const Record& b) { return place[a.id] < place[b.id]; });
  }
  void print_tables() const {
    if (options_.command == Command::verify) {
      std::cout << check_table(records_);
      return;
    }
    std::cout << table(records_);
    if (records_.size() == 1) std::cout << stage_table(records_.front());
    if (!options_.csv.empty()) replace_file(options_.csv, csv(records_));
  }

 private:
  const Options& options_;
  Journal* journal_ = nullptr;
  Progress progress_;
  std::vector<Record> records_;
};

Document head_of(const std::vector<std::string>& argv, Machine machine) {
  Document head;
  head.tool = tool_facts();
  head.environment = read_environment();
  head.machine = std::move(machine);
  head.warnings = doubts(head.environment, head.tool);
  head.run.start = utc_text(std::chrono::system_clock::now());
  head.run.id = cat(head.run.start, "-", getpid());
  head.run.argv = argv;
  head.run.argv[0] = "moebench";  // its path is the machine's own business
  head.run.repro = repro_line(argv, detect_launch(), moebench_variables());
  return head;
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

/// Opens what will be written, before the first case. Null without --json.
std::unique_ptr<Journal> open_journal(const Options& options, Document head, const std::string& suite) {
  if (!options.csv.empty()) require_writable(options.csv);
  std::error_code error;
  if (!options.csv.empty() && !options.force && !options.resume &&
      std::filesystem::exists(options.csv, error))
    throw UsageError(cat(options.csv, " already exists; give --force to replace it"));
  if (options.json.empty()) return nullptr;
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
    } catch (const std::exception& error) {  // the others wait: they must hear of it
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
                               Journal* journal, Show* show) {
  std::string held;
  for (const Case& measured : cases) {
    const Record* record = journal ? journal->take_over(measured, sampling.check, sampling.recheck) : nullptr;
    held += record ? '1' : '0';
    if (record) show->held(*record);
  }
  held = world.broadcast(held);
  std::vector<Case> left;
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (held[i] == '0') left.push_back(cases[i]);
  return left;
}

Sampling sampling_of(const Options& options) {
  Sampling sampling = options.sampling;
  sampling.check_only = options.command == Command::verify;
  return sampling;
}

/// Finishes the report. A failure must not cost the table; on a disk that was full before, it is no news.
bool folds(Journal& journal, RunOutcome& outcome) {
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

/// After an error that some ranks may not know of: rank 0 has said all it has to, the others give it time for
/// that.
void leave(World& world, const RunOutcome& outcome) {
  constexpr unsigned kGrace_s = 3;
  if (world.rank() != 0) {
    if (outcome.code != ExitCode::interrupted) std::cerr << "moebench: " << outcome.message << std::endl;
    sleep(kGrace_s);
  }
  std::cout.flush();
  world.abort(static_cast<int>(outcome.code));
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

ExitCode run_command(const Options& given, const std::vector<std::string>& argv) {
  Options options = given;
  if (options.command == Command::verify) options.sweep.fallback = verify_defaults(options.sweep);
  const SweepAxes axes = read_sweep(options.sweep);
  if (const auto code = start_ranks(options, axes, argv)) return *code;
  Workplace workplace(
      axes.only("backend"),
      {.comm = axes.only("comm"), .rendezvous = options.rendezvous, .timeout_s = options.timeout_s});
  World& world = workplace.world();
  const Sweep sweep = expand_sweep(axes, workplace.available());
  if (options.plan) {
    if (world.rank() == 0)
      print_plan(std::cout, sweep, sampling_of(options), limits_of(workplace, ranks_to_start(axes)));
    return ExitCode::ok;
  }
  if (options.profile || !options.trace.empty()) return inspect_command(options, workplace, sweep.cases);

  std::unique_ptr<Journal> journal;
  std::unique_ptr<Show> show;
  Machine machine = workplace.describe();
  on_first_rank(world, [&] {
    Document head = head_of(argv, std::move(machine));
    head.run.ranks_setup_us = workplace.ranks_us();
    head.run.backend_setup_us = workplace.backend_us();
    head.warnings.insert(head.warnings.end(), workplace.notes().begin(), workplace.notes().end());
    show = std::make_unique<Show>(options, static_cast<int>(sweep.cases.size()));
    for (const std::string& sentence : sweep.notes) show->note(sentence);
    if (!options.sweep.fallback.empty())
      show->note(
          "no size was given: small layers, which take seconds; --suite, --preset or --tokens … choose "
          "others");
    for (const std::string& sentence : head.warnings) show->note(cat("warning: ", sentence));
    journal = open_journal(options, std::move(head), axes.suite);
    show->write_to(journal.get());
  });
  const auto cases = still_to_run(sweep.cases, options.sampling, world, journal.get(), show.get());

  RunObserver nobody;
  RunOutcome outcome = run_cases(cases, sampling_of(options), workplace.bench(), show ? *show : nobody);
  if (show) {
    const bool kept = journal && folds(*journal, outcome);
    show->sort_like(sweep.cases);
    show->print_tables();
    if (!outcome.message.empty()) std::cerr << "moebench: " << outcome.message << std::endl;
    if (kept) show->note(cat("report: ", journal->file().string()));
  }
  if (outcome.ranks_lost) leave(world, outcome);
  return outcome.code;
}

}  // namespace moebench
