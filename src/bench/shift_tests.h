// SPDX-License-Identifier: Apache-2.0
// Whether B differs from A, from one value per process: exact tests and distribution-free intervals of the shift. Pure
// functions.
#pragma once

#include <span>

namespace moebench {

/// An interval of the shift from A to B: of the ratio, if the values are logarithms.
struct Shift {
  double estimate = 0;           ///< Hodges and Lehmann's: the median of all pairwise shifts
  double low = 0, high = 0;      ///< 95 %; -inf and inf where too few values can give one
  double low90 = 0, high90 = 0;  ///< 90 %: within two bounds, it rejects both at 5 % (two one-sided tests)
  double p = 1;                  ///< two-sided, of no shift
  double min_p = 1;              ///< what so many values can give at best
};

/// Wilcoxon's signed-rank test of differences b - a in pairs: every assignment of signs is as likely if the two are alike.
Shift paired_shift(std::span<const double> differences);

/// Mann and Whitney's test of two groups: every division into groups is as likely if the two are alike.
Shift unpaired_shift(std::span<const double> a, std::span<const double> b);

}  // namespace moebench
