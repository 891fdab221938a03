// SPDX-License-Identifier: Apache-2.0
// How far a run is, on stderr: one line that keeps changing on a terminal, else one line per case.
#pragma once

#include <functional>
#include <map>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "bench/record.h"
#include "bench/runner.h"

namespace moebench {

class Progress {
 public:
  /// `out` null: says nothing. `columns`: the width of the terminal, 0 if it is none. `now`: seconds, any
  /// origin.
  Progress(std::ostream* out, int columns, std::span<const Case> cases, std::function<double()> now);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// A case that --resume need not measure: counted, but not for the estimate of the time left.
  void already_measured(const Case& bench_case);
  void begin(const Case& bench_case);
  /// What is done with a case: "checking". Shown on terminals only.
  void phase(const Case& bench_case, std::string_view what);
  /// What is known so far of a case. Shown on terminals only, ten times a second at most.
  void sampled(const Case& bench_case, const SoFar& so_far);
  void end(const Record& record);
  /// A sentence on a line of its own.
  void note(const std::string& sentence);
  /// Takes the changing line away, so that something else can be printed.
  void clear();

 private:
  std::string number(const Case& bench_case) const;
  std::string time_left() const;
  void leave_phase();
  void live(const Case& bench_case, const std::string& state, const LoadRange& load = {});
  void plain(const std::string& line);

  std::ostream* out_;
  int columns_;
  std::function<double()> now_;
  std::map<std::string, std::size_t> places_;  ///< by id, from 1
  std::map<std::string, PeaksKey> left_;       ///< cases that have not ended, by id
  std::set<PeaksKey> peaks_done_;              ///< "measuring peaks" comes once for each
  std::size_t open_ = 0, measured_ = 0;        ///< cases that have begun and not ended; that were measured
  double began_ = 0, measured_s_ = 0, shown_ = -1;
  double peaks_began_ = -1, peaks_s_ = 0, peaks_of_this_s_ = 0;
  bool line_open_ = false;
};

/// To stderr, as wide as its terminal if it is one.
Progress make_progress(std::span<const Case> cases, bool quiet);

}  // namespace moebench
