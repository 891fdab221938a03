// SPDX-License-Identifier: Apache-2.0
#include "cli/run_display.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>

#include "base/interrupt.h"
#include "base/text.h"
#include "report/check_table.h"
#include "report/csv.h"
#include "report/grid.h"
#include "report/peaks_file.h"
#include "report/table.h"
#include "report/terminal.h"

namespace moebench {

void acknowledge_on_stderr(const Options& options) {
  constexpr const char* kPlain = "interrupting after this step …; once more ends it at once\n";
  constexpr const char* kLive = "\r\033[Kinterrupting …; once more ends it at once\n";
  if (!options.quiet) acknowledge_interrupts(terminal_columns(STDERR_FILENO) > 0 ? kLive : kPlain);
}

RunDisplay::RunDisplay(const Options& options, std::span<const Case> cases)
    : options_(options), progress_(make_progress(cases, options.quiet)) {
  acknowledge_on_stderr(options);
}

RunDisplay::~RunDisplay() { acknowledge_interrupts(nullptr); }

void RunDisplay::already_measured(const Record& record) {
  progress_.already_measured(record.bench_case);
  records_.push_back(record);
}

void RunDisplay::warn(const std::string& sentence) {
  progress_.clear();
  const auto columns = static_cast<std::size_t>(terminal_columns(STDERR_FILENO));
  std::cerr << broken(cat("warning: ", sentence), columns, "  ") << std::flush;
}

void RunDisplay::peaks(const Peaks& peaks) {
  if (journal_) journal_->add(peaks);
  constexpr double kSpread_pct = 5;  // more makes a % of limit doubtful
  for (const auto& [what, spread] :
       {std::pair("matrix products", peaks.gemm_spread_pct), std::pair("copies", peaks.copy_spread_pct),
        std::pair("the link", peaks.link_spread_pct)})
    if (spread > kSpread_pct)
      warn_and_keep(
          format("the peak of %s differs by %.0f %% between repeats: %% of limit is no surer", what, spread));
  if (options_.peaks.empty()) return;
  try {
    if (peaks.kept_since.empty())
      keep_peaks(options_.peaks, place_, peaks, utc_text(std::chrono::system_clock::now()));
  } catch (const Error& error) {  // the run itself can do without
    warn_and_keep(cat("peaks are not kept: ", error.what()));
  }
}

void RunDisplay::end(const Record& found) {
  Record record = found;
  record.id = id_of(record.bench_case);
  progress_.end(record);
  records_.push_back(record);
  if (journal_) journal_->add(std::move(record));
}

void RunDisplay::sort_like(const std::vector<Case>& cases) {
  std::map<std::string, std::size_t> place;
  for (const Case& bench_case : cases) place.emplace(id_of(bench_case), place.size());
  std::stable_sort(records_.begin(), records_.end(),
                   [&](const Record& a, const Record& b) { return place[a.id] < place[b.id]; });
}

void RunDisplay::warn_and_keep(const std::string& sentence) {
  warn(sentence);
  if (journal_) journal_->warn(sentence);
}

void RunDisplay::show_ranks(const Machine& machine) {
  place_ = place_of(machine);
  if (machine.ranks.size() < 2) return;
  Grid grid({"rank", "host", "pid", "device", "cores"});
  for (const RankInfo& rank : machine.ranks)
    grid.add_row({cat(rank.rank), rank.host, cat(rank.pid), rank.device, rank.cores});
  const auto columns = static_cast<std::size_t>(terminal_columns(STDERR_FILENO));
  if (columns > 0) grid.fit(columns, {"host"});
  for (const std::string& line : split(grid.text(), '\n'))
    if (!line.empty()) note(line);
}

void RunDisplay::print_tables(const Document& report) {
  progress_.clear();
  const bool to_stderr = options_.json == "-" || options_.csv == "-";
  std::ostream& out = to_stderr ? std::cerr : std::cout;
  if (options_.command == Command::verify) {
    out << check_table(records_);
    return;
  }
  const auto columns = static_cast<std::size_t>(terminal_columns(to_stderr ? STDERR_FILENO : STDOUT_FILENO));
  const std::size_t readable = columns == 0 ? 100 : columns;
  if (report.suite && !report.suite->question.empty())
    out << broken(cat("question: ", report.suite->question), readable, "  ");
  if (report.suite && !report.suite->expectation.empty())
    out << broken(cat("expected: ", report.suite->expectation), readable, "  ") << '\n';
  out << table(records_, columns, options_.columns);
  if (records_.size() == 1) out << '\n' << stage_table(records_.front(), columns);
  out << std::flush;
}

void RunDisplay::write_csv(const Document& report, bool replaces) const {
  const std::string text = csv(records_, report);
  if (options_.csv == "-") {
    std::cout << text << std::flush;
    return;
  }
  if (replaces) return replace_file(options_.csv, text);
  try {
    create_file(options_.csv, text);
  } catch (const EnvironmentError& error) {
    const std::string spare = cat(options_.csv, ".", getpid());
    create_file(spare, text);
    throw EnvironmentError(cat(error.what(), "; this run's table is ", spare));
  }
}

}  // namespace moebench
