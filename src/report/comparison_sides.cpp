// SPDX-License-Identifier: Apache-2.0
#include "report/comparison_sides.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"

namespace moebench {
namespace {

using Documents = std::span<const Document>;

std::string commit_of(const Document& document) {
  if (document.tool.commit.empty()) return "no commit";
  return cat("commit ", document.tool.commit.substr(0, 10), document.tool.dirty ? " (modified)" : "");
}

std::string machine_of(const Document& document) {
  std::vector<std::string> parts{document.environment.cpu.model};
  for (const GpuInfo& gpu : document.machine.gpus)
    if (std::find(parts.begin(), parts.end(), gpu.name) == parts.end()) parts.push_back(gpu.name);
  std::erase(parts, "");
  return cat(document.environment.host, parts.empty() ? "" : cat(" (", join(parts, ", "), ")"));
}

/// "A  before.json: commit 0123456789, 2026-01-31T12:00:00Z, host (Some CPU, Some GPU)"
std::string title_of(std::string_view side, const std::string& name, Documents documents) {
  if (documents.empty()) return cat(side, "  ", name, ": nothing");
  const Document& first = documents.front();
  return cat(side, "  ", name == side ? "" : name + ": ", commit_of(first), ", ", first.run.start, ", ",
             machine_of(first), documents.size() > 1 ? cat(", ", documents.size(), " processes") : "");
}

/// Sentences with the number of times they were said, in order of first sight.
class Tally {
 public:
  void add(const std::string& sentence) {
    if (counts_[sentence]++ == 0) order_.push_back(sentence);
  }
  /// `of`: what is counted.
  void append_to(std::vector<std::string>& lines, std::string_view side, std::string_view of) const {
    for (const std::string& sentence : order_) {
      const int count = counts_.at(sentence);
      lines.push_back(cat(side, ": ", sentence, count > 1 ? cat(" (", count, " ", of, ")") : ""));
    }
  }

 private:
  std::map<std::string, int> counts_;
  std::vector<std::string> order_;
};

void repeat_warnings(std::vector<std::string>& lines, Documents documents, std::string_view side) {
  Tally runs, points;
  int missed = 0, timed = 0;
  std::string example;
  for (const Document& document : documents) {
    std::set<std::string> once(document.warnings.begin(), document.warnings.end());
    once.insert(document.environment.warnings.begin(), document.environment.warnings.end());
    for (const auto& sentence : once) runs.add(sentence);
    for (const Record& record : document.points) {
      if (!has_times(record)) continue;
      for (const auto& sentence : record.warnings) points.add(sentence);
      ++timed;
      if (!record.stop.unmet.empty() && missed++ == 0) example = record.stop.unmet;
    }
  }
  runs.append_to(lines, side, "reports");
  points.append_to(lines, side, "points");
  if (missed > 0)
    lines.push_back(cat(side, " missed its target in ", missed, " of ", timed, " points: ", example));
}

/// Points that neither side may be trusted for: once, though both sides have them.
int unchecked_points(Documents a, Documents b) {
  std::set<std::string> ids;
  for (const Documents side : {a, b})
    for (const Document& document : side)
      for (const Record& record : document.points)
        if (has_times(record) && record.check.mode == "none") ids.insert(record.id);
  return static_cast<int>(ids.size());
}

/// The flags of a run, without those that say what is written where.
std::vector<std::string> flags_of(const Document& document) {
  static const std::set<std::string> kValues{"--json", "--csv"},
      kSwitches{"--force", "--resume", "--samples", "--quiet", "--interleave"};
  std::vector<std::string> flags;
  const auto& argv = document.run.argv;
  for (std::size_t i = 2; i < argv.size(); ++i) {
    if (kSwitches.contains(argv[i]) || argv[i].starts_with("--json=") || argv[i].starts_with("--csv="))
      continue;
    if (kValues.contains(argv[i]))
      ++i;
    else
      flags.push_back(argv[i].find_first_of(" '\"*<>") == std::string::npos ? argv[i]
                                                                            : cat("\"", argv[i], "\""));
  }
  return flags;
}

std::string command_in_turns(const Document& a, const Document& b) {
  const auto flags_a = flags_of(a), flags_b = flags_of(b);
  const bool one_build = a.tool.commit == b.tool.commit && a.tool.dirty == b.tool.dirty;
  const auto program = [&](const char* side) {
    return one_build ? std::string("moebench") : cat(side, "/moebench");
  };
  std::string note;
  if (!one_build) note = cat("   # A/moebench: ", commit_of(a), ", B/moebench: ", commit_of(b));
  if (flags_a == flags_b)
    return cat("moebench ab ", program("A"), " ", program("B"), flags_a.empty() ? "" : " -- ",
               join(flags_a, " "), note);
  const auto with = [](const std::string& command, const std::vector<std::string>& flags) {
    return cat("'", command, flags.empty() ? "" : " ", join(flags, " "), "'");
  };
  return cat("moebench ab ", with(program("A"), flags_a), " ", with(program("B"), flags_b), note);
}

}  // namespace

void describe_sides(Comparison& comparison, Documents a, Documents b, const CompareOptions& options) {
  comparison.titles = {title_of("A", options.name_a, a), title_of("B", options.name_b, b)};
  if (a.empty() || b.empty()) return;
  for (const auto& difference : differences(a.front(), b.front()))
    comparison.warnings.push_back("A and B differ in " + difference);
  if (const int unchecked = unchecked_points(a, b); unchecked > 0)
    comparison.warnings.push_back(cat(unchecked, " points were measured without checking the result"));
  repeat_warnings(comparison.repeated, a, "A");
  repeat_warnings(comparison.repeated, b, "B");
  if (!options.paired) comparison.in_turns = command_in_turns(a.front(), b.front());
}

}  // namespace moebench
