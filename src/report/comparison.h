// SPDX-License-Identifier: Apache-2.0
// Two reports against each other: for each point, whether B is slower than A, and how sure that is.
// The rule, and why: docs/report.md.
#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "report/document.h"

namespace moebench {

/// same: the whole interval of the ratio lies within the threshold. faster, slower: B differs from A
/// significantly and by more than the threshold. ambiguous: the samples cannot tell. refused: a result was
/// wrong. missing: one side has no time for it.
enum class Verdict { same, faster, slower, ambiguous, refused, missing };
std::string_view name_of(Verdict verdict);

struct CompareOptions {
  double threshold_pct = 2;
  double alpha = 0.01;              ///< of the rank test, where both sides hold samples
  std::vector<std::string> ignore;  ///< settings by which points need not match, to compare along them
};

struct PointComparison {
  std::vector<std::pair<std::string, std::string>> settings;  ///< what tells it apart from the other points
  Verdict verdict = Verdict::missing;
  std::string reason;  ///< why it is ambiguous, refused or missing
  double a_us = 0, b_us = 0;
  double ratio = 0, ratio_low = 0,
         ratio_high = 0;  ///< of the medians, B / A: above 1 is slower; 0 without times
  double p =
      std::numeric_limits<double>::quiet_NaN();  ///< of the rank test; NaN without samples on both sides
  bool only_in_b = false;
  std::string unchecked;  ///< whose result nothing was compared with: "A", "B", "A and B"; empty for neither
};

struct Comparison {
  std::vector<PointComparison> points;  ///< in the order of A, then those only in B
  double mean_ratio = 0;                ///< geometric mean of the ratios; 0 if nothing could be compared
  std::vector<std::string> warnings;
  double threshold_pct = 0;

  int count(Verdict verdict) const;
  /// incorrect if a point was refused; else regression if one is slower; else partial if one of A has no
  /// counterpart with a time, or nothing matched; else ok. Never an error for what became faster.
  ExitCode exit_code() const;
};

/// Matches points by their settings. Throws UsageError for a threshold that is no percentage from 0 up or for
/// an unknown name in `ignore`.
Comparison compare(const Document& a, const Document& b, const CompareOptions& options = {});

/// One row per point, the warnings above and the sum below.
std::string text_of(const Comparison& comparison);

}  // namespace moebench
