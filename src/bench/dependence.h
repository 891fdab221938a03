// SPDX-License-Identifier: Apache-2.0
// How far a series of samples is from independent ones: pure functions of the samples in the order in which they were
// taken. docs/method.md says why batch means and not a bootstrap.
#pragma once

#include <span>

namespace moebench {

struct Dependence {
  double lag1 = 0;         ///< autocorrelation of the samples' ranks at lag 1; 0 where all are equal or n < 3
  double effective_n = 0;  ///< as many independent samples would know the median as well; at most n
  bool drift = false;      ///< the level changes more slowly than the series can average over
};

/// Below this lag-1 autocorrelation samples count as uncorrelated: an interval grows by at most kMaxUncorrelatedGrowth,
/// and what is slower than that is said as drift.
inline constexpr double kUncorrelated = 0.1;
inline constexpr double kMaxUncorrelatedGrowth = 1.2;

/// The samples must be finite.
Dependence dependence_of(std::span<const double> samples);

/// Whether the samples gather around two values that are more than 1 % apart, with few between. False below 20 samples.
bool is_bimodal(std::span<const double> samples);

}  // namespace moebench
