// SPDX-License-Identifier: Apache-2.0
// How far a run is, on stderr: one line that keeps changing on a terminal, else one line per case.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <string_view>

#include "bench/record.h"

namespace moebench {

class Progress {
 public:
  /// `out` null: says nothing. `columns`: the width of the terminal, 0 if it is none. `now`: seconds, any
  /// origin.
  Progress(std::ostream* out, int columns, int cases, std::function<double()> now);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// A case that --resume need not measure: counted, but not for the estimate of the time left.
  void held(const Case& measured);
  void begin(const Case& measured);
  /// What is done to it now. Shown on terminals only.
  void phase(std::string_view name);
  /// What is known so far of the case that runs. Shown on terminals only, ten times a second at most.
  void sampled(double median_us, double error_pct);
  void end(const Record& record);
  /// A sentence on a line of its own.
  void note(const std::string& sentence);

 private:
  std::string label(const Case& measured) const;
  std::string time_left() const;
  void live(const std::string& line);
  void plain(const std::string& line);
  void clear();

  std::ostream* out_;
  int columns_, cases_;
  std::function<double()> now_;
  int finished_ = 0, measured_ = 0;  ///< held ones are finished but not measured
  double began_ = 0, measured_s_ = 0, shown_ = -1;
  std::string label_;
  bool running_ = false;
  bool line_open_ = false;
};

/// To stderr, as wide as its terminal if it is one.
Progress make_progress(int cases, bool quiet);

}  // namespace moebench
