// SPDX-License-Identifier: Apache-2.0
// Whether B takes longer than A, for one quantity: from one process on each side, or from several. The rule, and why:
// docs/report.md.
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"

namespace moebench {

/// same: an interval of the ratio lies within the threshold. faster, slower: B differs from A significantly and by more
/// than the threshold. mixed: the whole is the same, passes are not. ambiguous: the samples cannot tell. refused: a
/// result was wrong. missing: one side has no time for it.
enum class Verdict { same, faster, slower, mixed, ambiguous, refused, missing };
std::string_view name_of(Verdict verdict);

struct JudgeOptions {
  double threshold_pct = 2;
  double alpha = 0.01;  ///< of the tests
};

struct Judgement {
  Verdict verdict = Verdict::missing;
  std::string reason;  ///< why it is ambiguous, refused or missing
  double a_us = 0, b_us = 0;
  /// Of the medians, B / A: above 1 is slower; 0 without times.
  double ratio = 0, ratio_low = 0, ratio_high = 0;
  double same_low = 0, same_high = 0;  ///< 90 % interval, which must lie within the threshold to be the same
  double p = std::numeric_limits<double>::quiet_NaN();  ///< of the test; NaN without samples on both sides
  int processes_a = 1, processes_b = 1;
};

/// One process on each side. `samples` may be empty.
Judgement judge_samples(const Summary& a, std::span<const double> samples_a, const Summary& b,
                        std::span<const double> samples_b, const JudgeOptions& options);

/// One median per process. `paired`: the k-th of A ran next to the k-th of B.
Judgement judge_processes(std::span<const double> a_us, std::span<const double> b_us, bool paired,
                          const JudgeOptions& options);

}  // namespace moebench
