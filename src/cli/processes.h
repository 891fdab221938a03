// SPDX-License-Identifier: Apache-2.0
// Runs that are processes of their own, for what differs from one process to the next.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "report/document.h"

namespace moebench {

/// The words of a command as a POSIX shell would split it: quotes and backslashes, no variables. Throws UsageError.
std::vector<std::string> words_of(const std::string& command);

/// Takes the MOEBENCH_ variables that say what is written where, and how often, out of this process's environment: its
/// children get their own.
void forget_output_variables();

/// This program's path.
std::string this_program();

/// A directory of its own, removed at the end, unless it is given: then it is made and kept.
class ReportDirectory {
 public:
  /// Throws EnvironmentError.
  explicit ReportDirectory(const std::filesystem::path& given);
  ~ReportDirectory();
  ReportDirectory(const ReportDirectory&) = delete;
  ReportDirectory& operator=(const ReportDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool kept_;
};

/// Runs `words`, with "--json REPORT --quiet" after them, and reads the report. What the process prints is dropped, but
/// for the last line of its errors, which the error names. Throws Error with the process's exit code if it left no
/// report, and Interrupted.
Document run_process(std::vector<std::string> words, const std::filesystem::path& report);

}  // namespace moebench
