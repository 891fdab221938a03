// SPDX-License-Identifier: Apache-2.0
// Two reports against each other, or two groups of reports: for each point, whether B is slower than A, and how sure
// that is. The rule, and why: docs/report.md.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "report/document.h"
#include "report/judgement.h"
#include "suite/filter.h"

namespace moebench {

struct CompareOptions {
  double threshold_pct = 2;
  double alpha = 0.01;                     ///< of the tests
  std::vector<std::string> ignore;         ///< settings by which points need not match, to compare along them
  std::vector<Condition> filter;           ///< only points that fulfil all
  bool paired = false;                     ///< the k-th report of A ran next to the k-th of B
  std::string name_a = "A", name_b = "B";  ///< for the title: the files
};

/// A pass, a stage of one, or a routing step.
struct PartComparison {
  std::string name;  ///< "forward", "forward experts", "step 3"
  Judgement judged;
};

struct PointComparison : Judgement {
  std::vector<std::pair<std::string, std::string>> settings;  ///< what tells it apart from the other points
  std::vector<PartComparison> passes, stages, steps;
  bool only_in_b = false;
  std::string unchecked;  ///< whose result nothing was compared with: "A", "B", "A and B"; empty for neither
};

struct Comparison {
  std::vector<PointComparison> points;  ///< in the order of A, then those only in B
  double mean_ratio = 0;                ///< geometric mean of the ratios; 0 if nothing could be compared
  std::vector<std::string> titles;      ///< of A and of B: commit, date, machine
  std::vector<std::string> warnings;    ///< how A and B differ
  std::vector<std::string> repeated;    ///< what the reports themselves warn of, and the targets they missed
  std::string in_turns;                 ///< the command that repeats both in turns; empty where that was done
  double threshold_pct = 0;

  int count(Verdict verdict) const;
  /// incorrect if a point was refused; else regression if one is slower, or a pass or step of a mixed one is; else partial if one
  /// of A has no counterpart with a time, or nothing matched; else ok. Never an error for what became faster.
  ExitCode exit_code() const;
};

/// Matches points by their settings. Throws UsageError for a threshold that is no percentage from 0 up or for
/// an unknown name in `ignore`.
Comparison compare(const Document& a, const Document& b, const CompareOptions& options = {});

/// The same of several reports a side, each of a process of its own: points are judged over the processes. Throws
/// UsageError also if `paired` sides have different numbers of reports.
Comparison compare(std::span<const Document> a, std::span<const Document> b,
                   const CompareOptions& options = {});

/// One row per point, the warnings above and the sum below.
std::string text_of(const Comparison& comparison);
/// The same as Markdown, for a pull request.
std::string markdown_of(const Comparison& comparison);
/// The same as comma-separated values: a row per point, passes and stages left out.
std::string csv_of(const Comparison& comparison);
/// The same as JSON, schema moebench.comparison/1; docs/report.md.
Json to_json(const Comparison& comparison);

}  // namespace moebench
