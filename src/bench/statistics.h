// SPDX-License-Identifier: Apache-2.0
// Statistics of samples, as pure functions. docs/method.md says why these and not others.
#pragma once

#include <span>

namespace moebench {

/// One measured quantity. Units are those of the samples. All zero for no samples.
struct Summary {
  int n = 0;
  double mean = 0, stdev = 0, min = 0, max = 0;
  double p5 = 0, p25 = 0, p50 = 0, p75 = 0, p95 = 0, p99 = 0;
  double noise_pct = 0;            ///< robust relative spread: 100 · 1.4826 · MAD / median
  double ci95_low = 0, ci95_high = 0;  ///< 95 % interval of the median, distribution-free (order statistics)
};

Summary summarize(std::span<const double> samples);

/// Linear interpolation between order statistics (Hyndman & Fan type 7); p in [0, 100].
double percentile(std::span<const double> sorted, double p);

/// Half the width of the 95 % interval of the median, relative to the median, in percent; infinity below 6 samples.
double median_error_pct(std::span<const double> samples);

/// Two-sided p-value of the Mann-Whitney U test (normal approximation with tie correction).
double rank_test_p(std::span<const double> a, std::span<const double> b);

}  // namespace moebench
