// SPDX-License-Identifier: Apache-2.0
// The report while it grows: every record is on the disk as soon as it exists, so that a crash keeps what was
// measured. FILE.part holds one JSON object per line; at the end it is folded into FILE.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "bench/sampling.h"
#include "report/document.h"
#include "report/durable_file.h"

namespace moebench {

/// What to do when there is a report already, finished or not.
enum class OnExisting { refuse, replace, resume };

class Journal {
 public:
  /// Before the first case: opens FILE.part and writes `head` (a document without points) and, to resume, all
  /// that FILE and FILE.part hold. FILE itself stays as it is until finish(). `keep_samples`: write raw
  /// samples. Throws EnvironmentError if it cannot be written or another run is writing it, UsageError naming
  /// --force and --resume if it exists.
  Journal(std::filesystem::path file, OnExisting on_existing, Document head, bool keep_samples = false);

  /// A report that is kept in memory only, for standard output.
  explicit Journal(Document head, bool keep_samples = false);

  /// The point of that id if it is held and ok: --resume need not measure it again.
  const Record* find(const std::string& id) const;
  /// find() for a case of the sweep that goes on: the point takes its place on the axes, for it may have been measured
  /// in another sweep.
  /// One that was checked less than `asked`, or not rechecked where that is asked for, is not taken over.
  const Record* reuse(const Case& bench_case, CheckMode asked = CheckMode::none, bool recheck = false);

  /// Warns how many of the points held from earlier runs stay, and how many are measured again because they are among
  /// `to_measure`. Called once, when the sweep knows.
  void settle_held(std::span<const Case> to_measure);

  /// On the disk when it returns; in place of an earlier one of the same id. Throws EnvironmentError for a
  /// full disk: what was written before stays in FILE.part, and the record stays in document().
  void add(Record record);
  void add(const Peaks& peaks);
  void warn(const std::string& sentence);

  /// Folds everything into FILE and removes FILE.part. Throws EnvironmentError, also if FILE has appeared since the
  /// beginning; FILE.part then stays. One in memory is written to standard output.
  void finish(ExitCode code, bool interrupted = false);

  const Document& document() const { return document_; }
  const std::filesystem::path& file() const { return file_; }

 private:
  void write_line(const char* kind, const Json& json);

  std::filesystem::path file_, part_;
  Document document_;
  std::vector<std::string> held_from_;  ///< the runs whose points it took over: start and commit
  bool keep_samples_, replaces_;
  std::chrono::steady_clock::time_point opened_ = std::chrono::steady_clock::now();
  std::unique_ptr<AppendFile> lines_;
};

}  // namespace moebench
