// SPDX-License-Identifier: Apache-2.0
// Relative errors against the oracle, and the sample that is checked.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace moebench {

/// Sums of squares of one comparison.
struct RelativeError {
  double error = 0, reference = 0, terms = 0;

  void add(double out, double expected) {
    error += (out - expected) * (out - expected);
    reference += expected * expected;
  }
  /// For a sum whose terms may cancel: `norm` is the root of the sum of their squares, about what the sum is
  /// where signs are random. An error is small beside that, but not beside a sum that happens to be nearly nothing.
  void add(double out, double expected, double norm) {
    add(out, expected);
    terms += norm * norm;
  }
  /// Relative Frobenius norm; where the oracle is exactly zero, so must the output be. NaN stays NaN.
  double relative() const {
    if (const double scale = std::max(reference, terms); scale > 0) return std::sqrt(error / scale);
    return error == 0 || std::isnan(error) ? error : std::numeric_limits<double>::infinity();
  }
};

/// One comparison: the largest relative error of a row or element (layer/row_errors.h) over all ranks, and its bound.
struct CheckItem {
  std::string
      name;  ///< gate, score, y, dscore, dx, dgate, dw1, …; y_rows, …: against the second way; second, graph
  double error = 0;  ///< NaN if anything compared was not a number
  double bound = 0;
  std::string where = {};    ///< the worst row: "token 17", "expert 3, unit 5"
  std::string why_not = {};  ///< why nothing was compared; empty if it was
  bool passed() const { return !why_not.empty() || error <= bound; }  // false for NaN
};

/// `wanted` indices spread evenly over [0, count), both ends among them; all of them if there are no more.
inline std::vector<std::int64_t> evenly_spaced(std::int64_t count, std::int64_t wanted) {
  std::vector<std::int64_t> indices;
  wanted = std::min(wanted, count);
  for (std::int64_t i = 0; i < wanted; ++i)
    indices.push_back(wanted == 1 ? 0 : i * (count - 1) / (wanted - 1));
  return indices;
}

/// The sample of a quick check.
inline constexpr std::int64_t kSampledTokens = 16, kSampledExperts = 4, kSampledUnits = 4;

}  // namespace moebench
