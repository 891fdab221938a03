// SPDX-License-Identifier: Apache-2.0
#include "cli/run_display.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>

#include "base/interrupt.h"
#include "base/text.h"
#include "report/check_table.h"
#include "report/csv.h"
#include "report/grid.h"
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

void RunDisplay::held(const Record& record) {
  progress_.held(record.measured);
  records_.push_back(record);
}

void RunDisplay::warn(const std::string& sentence) {
  progress_.clear();
  const auto columns = static_cast<std::size_t>(terminal_columns(STDERR_FILENO));
  std::cerr << broken(cat("warning: ", sentence), columns, "  ") << std::flush;
}

void RunDisplay::peaks(const Peaks& peaks) {
  if (journal_) journal_->add(peaks);
}

void RunDisplay::end(const Record& found) {
  Record record = found;
  record.id = id_of(record.measured);
  progress_.end(record);
  records_.push_back(record);
  if (journal_) journal_->add(std::move(record));
}

void RunDisplay::sort_like(const std::vector<Case>& cases) {
  std::map<std::string, std::size_t> place;
  for (const Case& measured : cases) place.emplace(id_of(measured), place.size());
  std::stable_sort(records_.begin(), records_.end(),
                   [&](const Record& a, const Record& b) { return place[a.id] < place[b.id]; });
}

void RunDisplay::print_tables() {
  progress_.clear();
  if (options_.command == Command::verify) {
    std::cout << check_table(records_);
    return;
  }
  const auto columns = static_cast<std::size_t>(terminal_columns(STDOUT_FILENO));
  std::cout << table(records_, columns);
  if (records_.size() == 1) std::cout << '\n' << stage_table(records_.front(), columns);
}

void RunDisplay::write_csv(bool replaces) const {
  const std::string text = csv(records_);
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
