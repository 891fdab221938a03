// SPDX-License-Identifier: Apache-2.0
#include "report/journal.h"

#include <algorithm>
#include <iostream>
#include <set>
#include <utility>

#include "base/text.h"
#include "report/record_json.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;

/// A symbolic link to a report stays a link: the report it leads to is replaced, not the link.
fs::path resolved(const fs::path& file) {
  std::error_code error;
  auto target = fs::is_symlink(file, error) ? fs::weakly_canonical(file, error) : file;
  return error ? file : target;
}

bool is_there(const fs::path& path) {
  std::error_code error;  // what cannot be looked at cannot be opened either: that says why
  return fs::exists(path, error);
}

void refuse_existing(const fs::path& file) {
  if (is_there(file))
    throw UsageError(
        cat(file.string(), " already exists; give --force to replace it or --resume to add to it"));
}

void refuse_leftover(const fs::path& part) {
  std::error_code error;
  if (fs::file_size(part, error) > 0 && !error)  // an empty one holds nothing
    throw UsageError(cat(part.string(),
                         " holds a run that did not finish; give --resume to go on with it or ",
                         "--force to start anew"));
}

/// " (pid 4711 on node3)", as the system or the head of `part` says it; else empty.
std::string holder_text(const FileLocked& locked, const fs::path& part) {
  if (locked.holder() != 0) return cat(" (pid ", locked.holder(), ")");
  try {
    const Document other = read_document(part);
    if (!other.machine.ranks.empty())
      return cat(" (pid ", other.machine.ranks[0].pid, " on ", other.environment.host, ")");
  } catch (const Error&) {  // it is only just beginning
  }
  return {};
}

std::unique_ptr<FileLock> lock_part(const fs::path& file, const fs::path& part) {
  try {
    return std::make_unique<FileLock>(part);
  } catch (const FileLocked& locked) {
    throw EnvironmentError(cat("another run", holder_text(locked, part), " is writing ", file.string(),
                               ": wait for its end, or give this one another file"));
  }
}

/// The run that wrote `document`, as a report that goes on from there keeps it.
EarlierRun run_of(const Document& document) {
  return {.id = document.run.id,
          .argv = document.run.argv,
          .repro = document.run.repro,
          .start = document.run.start,
          .end = document.run.end,
          .commit = document.tool.commit,
          .dirty = document.tool.dirty,
          .host = document.environment.host,
          .load_average = document.environment.load_average};
}

/// "--iters 77 --samples": the flags that say how to measure, as they were given.
std::string method_of(const std::vector<std::string>& argv) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < argv.size(); ++i) {
    const std::string flag = argv[i].substr(0, argv[i].find('='));
    for (const char* valued : {"--warmup", "--iters", "--min-time", "--max-time", "--noise", "--check"})
      if (flag == valued) {
        words.push_back(argv[i]);
        if (flag == argv[i] && i + 1 < argv.size()) words.push_back(argv[i + 1]);
      }
    for (const char* word : {"--interleave", "--no-stages", "--no-peaks", "--no-sensors", "--samples"})
      if (flag == word) words.push_back(argv[i]);
  }
  return words.empty() ? "default flags" : join(words, " ");
}

/// Points without a run are of a report that was written before runs were kept: then it is the one that wrote it.
void keep_runs(Document& document, Document& earlier) {
  earlier.earlier_runs.push_back(run_of(earlier));
  for (auto& point : earlier.points)
    if (point.run.empty()) point.run = earlier.run.id;
  for (auto& run : earlier.earlier_runs) {
    const auto of_run = [&](const Record& point) { return point.run == run.id; };
    const auto same = [&](const EarlierRun& held) { return held.id == run.id; };
    if (std::any_of(earlier.points.begin(), earlier.points.end(), of_run) &&
        std::none_of(document.earlier_runs.begin(), document.earlier_runs.end(), same))
      document.earlier_runs.push_back(std::move(run));
  }
}

/// Takes over what an earlier run left at `path`, and returns which run that was, if it left points: its figures may be
/// of another build or machine.
std::string hold(Document& document, const fs::path& path) {
  std::error_code error;
  if (!is_there(path) || (fs::file_size(path, error) == 0 && path.extension() == ".part")) return {};
  Document earlier = read_document(path);
  for (const auto& peaks : earlier.peaks) put(document.peaks, peaks);
  for (auto& sentence : earlier.warnings)
    if (std::find(document.warnings.begin(), document.warnings.end(), sentence) == document.warnings.end())
      document.warnings.push_back(std::move(sentence));
  if (earlier.points.empty()) return {};
  const auto build = [](const ToolFacts& tool) {
    return cat(tool.commit.empty() ? "unknown" : tool.commit, tool.dirty ? " (dirty)" : "");
  };
  const std::string from = cat(earlier.run.start, ", commit ", build(earlier.tool));
  if (const auto then = method_of(earlier.run.argv), now = method_of(document.run.argv); then != now)
    document.warnings.push_back(cat("kept points were measured with ", then, ", the others with ", now));
  keep_runs(document, earlier);
  if (build(earlier.tool) != build(document.tool))
    document.warnings.push_back(
        cat("resumed with another commit: ", build(earlier.tool), " / ", build(document.tool)));
  for (const auto& difference : differences(earlier, document))
    document.warnings.push_back(cat("resumed under other conditions: ", difference));
  for (auto& point : earlier.points) put(document.points, std::move(point));
  return from;
}

std::string line(const char* kind, const Json& json) { return text_of(Json{{kind, json}}) + "\n"; }

/// The head and the points held so far.
std::string beginning(Document document) {
  std::string points;
  for (const auto& point : document.points) points += line("point", to_json(point));
  document.points.clear();
  return line("head", to_json(document)) + points;
}

}  // namespace

Journal::Journal(fs::path file, OnExisting on_existing, Document head, bool keep_samples)
    : file_(resolved(file)),
      part_(file_.string() + ".part"),
      document_(std::move(head)),
      keep_samples_(keep_samples) {
  require_writable(file_);
  require_writable(part_);
  if (on_existing == OnExisting::refuse) refuse_existing(file_);  // before anything is made
  const auto lock = lock_part(file_, part_);
  const fs::path fresh = part_.string() + ".new";
  try {
    if (on_existing == OnExisting::refuse) refuse_existing(file_);  // another run may have just ended
    if (on_existing == OnExisting::refuse) refuse_leftover(part_);
    if (on_existing == OnExisting::resume) {
      for (const fs::path& left : {file_, part_})
        if (std::string from = hold(document_, left); !from.empty()) held_from_.push_back(std::move(from));
    }
    replaces_ = on_existing == OnExisting::replace || is_there(file_);
    // An earlier .part gives way only to one that holds all of it.
    lines_ = std::make_unique<AppendFile>(fresh);
    lines_->lock();
    lines_->append(beginning(document_));
    lines_->rename_to(part_);
  } catch (const Error&) {
    std::error_code ignored;
    if (lines_) fs::remove(fresh, ignored);
    if (lock->made()) fs::remove(part_, ignored);
    throw;
  }
}

Journal::Journal(Document head, bool keep_samples)
    : document_(std::move(head)), keep_samples_(keep_samples), replaces_(false) {}

const Record* Journal::find(const std::string& id) const {
  for (const auto& point : document_.points)
    if (point.id == id && has_times(point)) return &point;
  return nullptr;
}

const Record* Journal::reuse(const Case& bench_case, CheckMode asked, bool recheck) {
  const Record* const held = find(id_of(bench_case));
  if (held && (parse_check(held->check.mode) < asked || (recheck && held->check.rechecked_sets == 0)))
    return nullptr;
  for (auto& point : document_.points)
    if (&point == held) point.bench_case.axes = bench_case.axes;
  return held;
}

void Journal::settle_held(std::span<const Case> to_measure) {
  if (held_from_.empty()) return;
  std::set<std::string> again;
  for (const Case& bench_case : to_measure) again.insert(id_of(bench_case));
  const auto all = std::ssize(document_.points);
  const auto replaced = std::count_if(document_.points.begin(), document_.points.end(),
                                      [&](const Record& point) { return again.contains(point.id); });
  const std::string from = join(held_from_, " and ");
  if (all > replaced) warn(cat(all - replaced, " points were kept from the run of ", from));
  if (replaced > 0) warn(cat(replaced, " points of the run of ", from, " are measured again"));
}

void Journal::write_line(const char* kind, const Json& json) {
  if (!lines_) return;
  try {
    lines_->append(line(kind, json));
  } catch (const EnvironmentError& error) {
    throw EnvironmentError(
        cat(error.what(), "; what was measured before is kept there: free space and --resume"));
  }
}

void Journal::add(Record record) {
  if (record.id.empty()) record.id = id_of(record.bench_case);
  record.run = document_.run.id;
  if (!keep_samples_) {
    for (auto& [pass, time] : record.time) time.samples.clear();
    record.device.throttled_at.clear();
    if (routing_steps_of(record.bench_case) == 0) record.routing.steps.clear();  // nobody asked for steps
    for (StepRecord& step : record.routing.steps) step.expert_rows.clear();
  }
  const Json json = to_json(record);
  put(document_.points, std::move(record));
  write_line("point", json);
}

void Journal::add(const Peaks& peaks) {
  put(document_.peaks, peaks);
  write_line("peaks", to_json(peaks));
}

void Journal::warn(const std::string& sentence) {
  document_.warnings.push_back(sentence);
  write_line("warning", sentence);
}

void Journal::finish(ExitCode code, bool interrupted) {
  document_.run.end = utc_text(std::chrono::system_clock::now());
  document_.run.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - opened_).count();
  document_.run.exit_code = static_cast<int>(code);
  document_.run.interrupted = interrupted;
  try {
    const std::string text = text_of(to_json(document_), true) + "\n";
    if (file_.empty()) {
      std::cout << text << std::flush;
      return;
    }
    replaces_ ? replace_file(file_, text) : create_file(file_, text);
  } catch (const EnvironmentError& error) {
    throw EnvironmentError(cat(error.what(), "; every record is kept in ", part_.string()));
  }
  std::error_code ignored;
  fs::remove(part_, ignored);
  lines_.reset();  // last: until then no other run may take up the name
}

}  // namespace moebench
