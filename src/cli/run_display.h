// SPDX-License-Identifier: Apache-2.0
// What rank 0 shows and keeps of a run: progress, the growing report, the table at the end.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/runner.h"
#include "cli/options.h"
#include "comm/lost_ranks.h"
#include "report/journal.h"
#include "report/progress.h"

namespace moebench {

/// On SIGINT and SIGTERM the process says at once that it ends soon, unless it is to be quiet. `options` must outlive
/// what is made here.
void acknowledge_on_stderr(const Options& options);

class RunDisplay final : public RunObserver {
 public:
  RunDisplay(const Options& options, std::span<const Case> cases);
  ~RunDisplay() override;

  /// Null: no rank is watched.
  void watch(LostRanks* ranks) { ranks_ = ranks; }
  /// Null: nothing is written.
  void write_to(Journal* journal) { journal_ = journal; }
  /// A case whose result the resumed report contains.
  void already_measured(const Record& record);
  void note(const std::string& sentence) { progress_.note(sentence); }
  /// Where each rank is, if there are several.
  void show_ranks(const Machine& machine);
  /// Also shown where progress is not.
  void warn(const std::string& sentence);
  /// The same, and it stands in the report.
  void warn_and_keep(const std::string& sentence);

  void begin(const Case& bench_case) override { progress_.begin(bench_case); }
  void phase(const Case& bench_case, std::string_view what) override { progress_.phase(bench_case, what); }
  void sampled(const Case& bench_case, const SoFar& so_far) override {
    progress_.sampled(bench_case, so_far);
  }
  void peaks(const Peaks& peaks) override;
  std::string lost_rank() override { return ranks_ ? ranks_->find() : std::string(); }
  void end(const Record& found) override;

  /// In the order of the sweep: interleaved cases end in any order, and a resumed report holds some beforehand.
  void sort_like(const std::vector<Case>& cases);
  /// To stdout, or to stderr where the report or the CSV table goes to stdout; below the suite's question, if it has one.
  void print_tables(const Document& report);
  /// The table as CSV, in place of a file only if that was there when the run began.
  /// `report`: where the rows are from. To standard output for "-".
  void write_csv(const Document& report, bool replaces) const;

 private:
  const Options& options_;
  Journal* journal_ = nullptr;
  LostRanks* ranks_ = nullptr;
  Progress progress_;
  std::string place_;  ///< of the peaks
  std::vector<Record> records_;
};

}  // namespace moebench
