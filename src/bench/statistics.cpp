// SPDX-License-Identifier: Apache-2.0
#include "bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "bench/dependence.h"

namespace moebench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void require_finite(std::span<const double> samples) {
  for (std::size_t i = 0; i < samples.size(); ++i)
    if (!std::isfinite(samples[i]))
      throw Error(ExitCode::internal, cat("sample ", i + 1, " of ", samples.size(), " is ", samples[i]));
}

std::vector<double> sorted_copy(std::span<const double> samples) {
  require_finite(samples);
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

/// Independent samples give order statistics. Correlated ones know the share of samples below the median less well, by
/// the root of n / effective_n: as much further from the middle are the places where the interval ends.
std::pair<double, double> median_interval(std::span<const double> sorted, const Dependence& dependence) {
  const auto rank = static_cast<std::size_t>(median_interval_rank(static_cast<int>(sorted.size())));
  if (rank == 0 || dependence.effective_n < 6) return {-kInfinity, kInfinity};
  const double low = sorted[rank - 1], high = sorted[sorted.size() - rank];
  const auto n = static_cast<double>(sorted.size());
  const double growth = std::sqrt(n / dependence.effective_n);
  if (growth <= 1) return {low, high};
  const double reach = std::min(50.0, growth * (50 - 100 * static_cast<double>(rank - 1) / (n - 1)));
  const double wide_low = percentile(sorted, 50 - reach), wide_high = percentile(sorted, 50 + reach);
  if (dependence.lag1 >= kUncorrelated) return {wide_low, wide_high};
  const double median = percentile(sorted, 50);
  return {std::max(wide_low, median - kMaxUncorrelatedGrowth * (median - low)),
          std::min(wide_high, median + kMaxUncorrelatedGrowth * (high - median))};
}

/// 100 · part / whole, where a spread of zero is none even around zero.
double percent_of(double part, double whole) {
  if (part == 0) return 0;
  return whole == 0 ? kInfinity : 100 * part / std::abs(whole);
}

/// Median of |x - center|.
double absolute_deviation(std::span<const double> samples, double center) {
  std::vector<double> deviations;
  deviations.reserve(samples.size());
  for (const double x : samples) deviations.push_back(std::abs(x - center));
  std::sort(deviations.begin(), deviations.end());
  return percentile(deviations, 50);
}

}  // namespace

int median_interval_rank(int n) {
  constexpr double kTail = 0.025;
  if (n > 1000) {
    // 2^-n nears the smallest double; the normal approximation, with continuity correction, agrees from here.
    constexpr double kZ = 1.959963984540054;
    return static_cast<int>(std::floor((n + 1 - kZ * std::sqrt(static_cast<double>(n))) / 2));
  }
  // The median lies below x(r) when fewer than r samples do: P[Binomial(n, 1/2) <= r - 1].
  double term = std::ldexp(1.0, -n), tail = term;
  int rank = 0;
  while (rank < n && tail <= kTail) {
    term *= static_cast<double>(n - rank) / (rank + 1);
    tail += term;
    ++rank;
  }
  return rank;
}

double percentile(std::span<const double> sorted, double p) {
  if (sorted.empty()) return 0;
  MB_ASSERT(p >= 0 && p <= 100);
  const double place = p / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= sorted.size()) return sorted.back();
  return std::lerp(sorted[below], sorted[below + 1], place - static_cast<double>(below));
}

Summary summarize(std::span<const double> samples) {
  Summary summary;
  if (samples.empty()) return summary;
  const auto sorted = sorted_copy(samples);
  const auto n = static_cast<double>(sorted.size());
  summary.n = static_cast<int>(sorted.size());
  summary.mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / n;
  double squares = 0;
  for (const double x : sorted) squares += (x - summary.mean) * (x - summary.mean);
  summary.stdev = sorted.size() > 1 ? std::sqrt(squares / (n - 1)) : 0;
  summary.min = sorted.front();
  summary.max = sorted.back();
  summary.p5 = percentile(sorted, 5);
  summary.p25 = percentile(sorted, 25);
  summary.p50 = percentile(sorted, 50);
  summary.p75 = percentile(sorted, 75);
  summary.p95 = percentile(sorted, 95);
  summary.p99 = percentile(sorted, 99);
  // 1.4826 makes the median absolute deviation of a normal distribution equal its standard deviation.
  summary.noise_pct = percent_of(1.4826 * absolute_deviation(sorted, summary.p50), summary.p50);
  const Dependence dependence = dependence_of(samples);
  summary.effective_n = dependence.effective_n;
  std::tie(summary.ci95_low, summary.ci95_high) = median_interval(sorted, dependence);
  return summary;
}

double median_error_pct(std::span<const double> samples) {
  const auto sorted = sorted_copy(samples);
  const auto [low, high] = median_interval(sorted, dependence_of(samples));
  return percent_of((high - low) / 2, percentile(sorted, 50));
}

double median_error_pct(const Summary& summary) {
  if (summary.n == 0) return kInfinity;
  return percent_of((summary.ci95_high - summary.ci95_low) / 2, summary.p50);
}

double rank_test_p(std::span<const double> a, std::span<const double> b) {
  return rank_test_p(a, b, static_cast<double>(a.size()), static_cast<double>(b.size()));
}

double rank_test_p(std::span<const double> a, std::span<const double> b, double effective_a,
                   double effective_b) {
  require_finite(a);
  require_finite(b);
  if (a.empty() || b.empty()) return 1;
  std::vector<std::pair<double, bool>> pooled;  // value, whether it is of a
  for (const double x : a) pooled.emplace_back(x, true);
  for (const double x : b) pooled.emplace_back(x, false);
  std::sort(pooled.begin(), pooled.end());

  double rank_sum = 0, ties = 0;  // of a's ranks; Σ (t³ - t) over groups of t equal values
  for (std::size_t begin = 0, end = 0; begin < pooled.size(); begin = end) {
    std::size_t of_a = 0;
    for (; end < pooled.size() && pooled[end].first == pooled[begin].first; ++end) of_a += pooled[end].second;
    const auto t = static_cast<double>(end - begin);
    rank_sum += static_cast<double>(of_a) * (static_cast<double>(begin + end + 1) / 2);
    ties += t * t * t - t;
  }
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size()), all = n + m;
  const double u = rank_sum - n * (n + 1) / 2;
  const double variance = n * m / 12 * (all + 1 - ties / (all * (all - 1)));
  if (variance <= 0) return 1;
  const double distance = std::max(0.0, std::abs(u - n * m / 2) - 0.5);
  // The variance of U / nm is about that of 1/n + 1/m: correlation makes it that of the effective numbers.
  const double growth = (1 / effective_a + 1 / effective_b) / (1 / n + 1 / m);
  return std::erfc(distance / std::sqrt(2 * variance * growth));
}

}  // namespace moebench
