// SPDX-License-Identifier: Apache-2.0
// Statistics of samples in the order in which they were taken, as pure functions. docs/method.md says why these and not
// others.
// Each throws Error (internal) if a sample is NaN or infinite: a time that is no number never becomes a
// figure.
#pragma once

#include <span>

namespace moebench {

/// One measured quantity. Units are those of the samples. All zero for no samples.
struct Summary {
  int n = 0;
  double mean = 0, stdev = 0, min = 0, max = 0;  ///< stdev: of the sample, n - 1; 0 for one sample
  double p5 = 0, p25 = 0, p50 = 0, p75 = 0, p95 = 0, p99 = 0;
  double noise_pct = 0;  ///< robust relative spread: 100 · 1.4826 · MAD / median
  /// 95 % interval of the median, from order statistics and the effective number of samples; -inf and inf where that is
  /// below 6.
  double ci95_low = 0, ci95_high = 0;
  double effective_n =
      0;  ///< as many independent samples would know the median as well; NaN in reports of old
};

Summary summarize(std::span<const double> samples);

/// Linear interpolation between order statistics (Hyndman & Fan type 7); p in [0, 100]. 0 for no samples.
double percentile(std::span<const double> sorted, double p);

/// The largest r for which [x(r), x(n+1-r)], the r-th smallest to the r-th largest of n samples, holds the
/// median with a probability of at least 95 %; 0 if there is none (n < 6). Exact up to 1000 samples.
int median_interval_rank(int n);

/// Half the width of the 95 % interval of the median, relative to the median, in percent; infinity where there is none.
double median_error_pct(std::span<const double> samples);
/// The same, of samples already summarised.
double median_error_pct(const Summary& summary);

/// Two-sided p-value of the Mann-Whitney U test (normal approximation with tie and continuity correction).
/// 1 if either side is empty or all values are equal.
double rank_test_p(std::span<const double> a, std::span<const double> b);
/// The same of correlated samples, of which a is worth `effective_a` independent ones, and b `effective_b`.
double rank_test_p(std::span<const double> a, std::span<const double> b, double effective_a,
                   double effective_b);

}  // namespace moebench
