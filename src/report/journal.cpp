// SPDX-License-Identifier: Apache-2.0
#include "report/journal.h"

#include <algorithm>
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

void refuse_existing(const fs::path& file, const fs::path& part) {
  std::error_code error;  // what cannot be looked at cannot be opened either: that says why
  if (fs::exists(file, error))
    throw UsageError(
        cat(file.string(), " already exists; give --force to replace it or --resume to add to it"));
  if (fs::exists(part, error))
    throw UsageError(cat(part.string(),
                         " holds a run that did not finish; give --resume to go on with it or ",
                         "--force to start anew"));
}

/// Takes over what an earlier run left at `path`, and says so: its figures may be of another build or
/// machine.
void hold(Document& document, const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return;
  Document earlier = read_document(path);
  for (const auto& peaks : earlier.peaks) put(document.peaks, peaks);
  for (auto& sentence : earlier.warnings)
    if (std::find(document.warnings.begin(), document.warnings.end(), sentence) == document.warnings.end())
      document.warnings.push_back(std::move(sentence));
  if (earlier.points.empty()) return;
  const auto build = [](const ToolFacts& tool) {
    return cat(tool.commit.empty() ? "unknown" : tool.commit, tool.dirty ? " (dirty)" : "");
  };
  document.warnings.push_back(cat(earlier.points.size(), " points were held from the run of ",
                                  earlier.run.start, ", commit ", build(earlier.tool)));
  if (build(earlier.tool) != build(document.tool))
    document.warnings.push_back(
        cat("resumed with another commit: ", build(earlier.tool), " / ", build(document.tool)));
  for (const auto& difference : differences(earlier, document))
    document.warnings.push_back(cat("resumed under other conditions: ", difference));
  for (auto& point : earlier.points) put(document.points, std::move(point));
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
  if (on_existing == OnExisting::refuse) refuse_existing(file_, part_);
  if (on_existing == OnExisting::resume) {
    hold(document_, file_);
    hold(document_, part_);
  }
  // An earlier .part gives way only to one that holds all of it.
  const fs::path fresh = part_.string() + ".new";
  lines_ = std::make_unique<AppendFile>(fresh);
  try {
    lines_->append(beginning(document_));
    lines_->rename_to(part_);
  } catch (const EnvironmentError&) {
    std::error_code ignored;
    fs::remove(fresh, ignored);
    throw;
  }
}

const Record* Journal::find(const std::string& id) const {
  for (const auto& point : document_.points)
    if (point.id == id && has_times(point)) return &point;
  return nullptr;
}

const Record* Journal::take_over(const Case& measured, CheckMode asked, bool recheck) {
  const Record* const held = find(id_of(measured));
  if (held && (parse_check(held->check.mode) < asked || (recheck && held->check.rechecked_sets == 0)))
    return nullptr;
  for (auto& point : document_.points)
    if (&point == held) point.measured.axes = measured.axes;
  return held;
}

void Journal::write_line(const char* kind, const Json& json) {
  try {
    lines_->append(line(kind, json));
  } catch (const EnvironmentError& error) {
    throw EnvironmentError(
        cat(error.what(), "; what was measured before is kept there: free space and --resume"));
  }
}

void Journal::add(Record record) {
  if (record.id.empty()) record.id = id_of(record.measured);
  if (!keep_samples_) {
    for (auto& [pass, time] : record.time) time.samples.clear();
    record.device.throttled_at.clear();
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
    replace_file(file_, text_of(to_json(document_), true) + "\n");
  } catch (const EnvironmentError& error) {
    throw EnvironmentError(cat(error.what(), "; every record is kept in ", part_.string()));
  }
  lines_.reset();
  std::error_code ignored;
  fs::remove(part_, ignored);
}

}  // namespace moebench
