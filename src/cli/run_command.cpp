// SPDX-License-Identifier: Apache-2.0
// `run` and `verify`: expand the sweep, open the report, run, show.
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>

#include "base/text.h"
#include "bench/repetitions.h"
#include "bench/runner.h"
#include "cli/commands.h"
#include "cli/processes.h"
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

/// One line per case: what would be measured.
void print_plan(const Sweep& sweep) {
  int number = 0;
  for (const Case& measured : sweep.cases) {
    std::cout << ++number << "  ";
    for (const auto& [flag, value] : measured.settings())
      if (!value.empty()) std::cout << ' ' << flag << '=' << value;
    std::cout << '\n';
  }
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

/// A folder stands for a report in it that is named after the device and the commit.
std::filesystem::path report_path(const std::string& given, const Document& head) {
  if (!given.ends_with('/')) return given;
  std::error_code error;
  std::filesystem::create_directories(given, error);
  if (error) throw EnvironmentError(cat("cannot make the directory ", given, ": ", error.message()));
  const std::string& device =
      head.machine.gpus.empty() ? head.environment.cpu.model : head.machine.gpus.front().name;
  const std::string commit = head.tool.commit.empty() ? "no-commit" : head.tool.commit.substr(0, 10);
  return cat(given, slug(device), "-", commit, head.tool.dirty ? "-modified" : "", ".json");
}

/// Opens what will be written, before the first case. Null without --json.
std::unique_ptr<Journal> open_journal(const Options& options, Document head) {
  if (!options.csv.empty()) require_writable(options.csv);
  std::error_code error;
  if (!options.csv.empty() && !options.force && !options.resume &&
      std::filesystem::exists(options.csv, error))
    throw UsageError(cat(options.csv, " already exists; give --force to replace it"));
  if (options.json.empty()) return nullptr;
  const auto path = report_path(options.json, head);
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
std::vector<Case> still_to_run(const std::vector<Case>& cases, World& world, Journal* journal, Show* show) {
  std::string held;
  for (const Case& measured : cases) {
    const Record* record = journal ? journal->take_over(measured) : nullptr;
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
  const auto journal = open_journal(options, head);
  Show show(options, static_cast<int>(documents.front().points.size()));
  show.write_to(journal.get());
  for (const Peaks& peaks : documents.front().peaks) show.peaks(peaks);
  RunOutcome outcome;
  for (const Record& record : documents.front().points) show.end(combine(of_each(documents, record)));
  for (const Document& document : documents)
    outcome.code = std::max(outcome.code, static_cast<ExitCode>(document.run.exit_code));
  const bool kept = journal && folds(*journal, outcome);
  show.print_tables();
  if (kept) show.note(cat("report: ", journal->file().string()));
  return outcome.code;
}

}  // namespace

ExitCode run_command(const Options& options, const std::vector<std::string>& argv) {
  if (options.repetitions > 1) return repeat_command(options, argv);
  if (const auto code = start_ranks(options, argv)) return *code;
  Workplace workplace(only_word(options.sweep, "backend"), {.comm = only_word(options.sweep, "comm"),
                                                            .rendezvous = options.rendezvous,
                                                            .timeout_s = options.timeout_s});
  World& world = workplace.world();
  const Sweep sweep = expand_sweep(options.sweep, workplace.available());
  if (options.plan) {
    if (world.rank() == 0) print_plan(sweep);
    return ExitCode::ok;
  }
  for (const Case& measured : sweep.cases) refuse_impossible(measured, workplace.backend());
  if (options.profile || !options.trace.empty()) return inspect_command(options, workplace, sweep.cases);

  std::unique_ptr<Journal> journal;
  std::unique_ptr<Show> show;
  Machine machine = workplace.describe();
  on_first_rank(world, [&] {
    Document head = head_of(argv, std::move(machine));
    head.run.ranks_setup_us = workplace.ranks_us();
    head.run.backend_setup_us = workplace.backend_us();
    show = std::make_unique<Show>(options, static_cast<int>(sweep.cases.size()));
    for (const std::string& sentence : sweep.notes) show->note(sentence);
    for (const std::string& sentence : head.warnings) show->note(cat("warning: ", sentence));
    journal = open_journal(options, std::move(head));
    show->write_to(journal.get());
  });
  const auto cases = still_to_run(sweep.cases, world, journal.get(), show.get());

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
