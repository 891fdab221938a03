// SPDX-License-Identifier: Apache-2.0
#include "bench/dependence.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

namespace moebench {
namespace {

/// Ranks from 0, the mean rank for equal values, less the mean of all ranks.
std::vector<double> centered_ranks(std::span<const double> samples) {
  std::vector<std::size_t> order(samples.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return samples[a] < samples[b]; });
  std::vector<double> ranks(samples.size());
  const double middle = (static_cast<double>(samples.size()) - 1) / 2;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && samples[order[end]] == samples[order[begin]]) ++end;
    const double rank = static_cast<double>(begin + end - 1) / 2 - middle;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
  }
  return ranks;
}

double mean_square(std::span<const double> values) {
  return std::inner_product(values.begin(), values.end(), values.begin(), 0.0) /
         static_cast<double>(values.size());
}

double lag1_of(std::span<const double> centered) {
  const double squares = std::inner_product(centered.begin(), centered.end(), centered.begin(), 0.0);
  if (squares == 0 || centered.size() < 3) return 0;
  return std::inner_product(centered.begin() + 1, centered.end(), centered.begin(), 0.0) / squares;
}

/// sums[i] is the sum of the first i values.
std::vector<double> running_sums(std::span<const double> values) {
  std::vector<double> sums(values.size() + 1);
  std::partial_sum(values.begin(), values.end(), sums.begin() + 1);
  return sums;
}

/// Σ over the last `batches` batches of `length` values, each one's sum squared.
double squared_batch_sums(const std::vector<double>& sums, std::size_t batches, std::size_t length) {
  double total = 0;
  for (std::size_t i = 0, end = sums.size() - 1; i < batches; ++i, end -= length) {
    const double sum = sums[end] - sums[end - length];
    total += sum * sum;
  }
  return total;
}

/// Above or below the median as 1 and -1, less their mean: what the interval of a median depends on.
std::vector<double> centered_signs(std::span<const double> centered) {
  std::vector<double> sorted(centered.begin(), centered.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  double median = *middle;
  if (sorted.size() % 2 == 0) median = (median + *std::max_element(sorted.begin(), middle)) / 2;
  std::vector<double> signs;
  signs.reserve(centered.size());
  for (const double x : centered) signs.push_back((x > median) - (x < median));
  const double mean = std::accumulate(signs.begin(), signs.end(), 0.0) / static_cast<double>(signs.size());
  for (double& sign : signs) sign -= mean;
  return signs;
}

/// By how much correlation multiplies the variance of the share of samples below the median: the largest over 8, 16, 32
/// and 64 batches, where it is more than chance gives independent samples. Few batches see slow changes, many estimate
/// better; Student's t allows for how few there are.
double variance_growth(std::span<const double> signs, double lag1) {
  struct Batches {
    std::size_t count;
    double t;  // two-sided 95 %, count - 1 degrees of freedom
  };
  constexpr double kZ95 = 1.959963984540054, kZOneSided95 = 1.6448536269514722;
  const auto n = static_cast<double>(signs.size());
  const double variance = mean_square(signs);
  if (variance == 0) return 1;
  double growth = 1;
  const auto sums = running_sums(signs);
  for (const Batches batches : {Batches{8, 2.3646}, {16, 2.1314}, {32, 2.0395}, {64, 1.9983}}) {
    const std::size_t length = signs.size() / batches.count;
    if (length < 2) break;
    const double free = static_cast<double>(batches.count) - 1;
    const double found =
        squared_batch_sums(sums, batches.count, length) / (free * static_cast<double>(length) * variance);
    if (found < 1 + kZOneSided95 * std::sqrt(2 / free)) continue;
    growth = std::max(growth, found * (batches.t / kZ95) * (batches.t / kZ95));
  }
  // Too few samples for batches: assume that each depends on the previous one only.
  if (lag1 > 2 / std::sqrt(n)) growth = std::max(growth, (1 + lag1) / std::max(1 - lag1, 1 / n));
  return std::min(growth, n);
}

/// Whether the sum of ranks strays further from zero than batches of √n samples explain: a test for a change of level,
/// which is beyond Kolmogorov's 1 % point for a series whose level stays.
bool level_changes(std::span<const double> ranks) {
  constexpr double kKolmogorov1 = 1.6276;
  const auto n = static_cast<double>(ranks.size());
  const auto length = static_cast<std::size_t>(std::lround(std::sqrt(n)));
  const std::size_t batches = ranks.size() / length;
  const auto sums = running_sums(ranks);
  const double variance = std::max(
      mean_square(ranks), squared_batch_sums(sums, batches, length) / static_cast<double>(batches * length));
  double furthest = 0;
  for (const double sum : sums) furthest = std::max(furthest, std::abs(sum));
  return furthest > kKolmogorov1 * std::sqrt(n * variance);
}

}  // namespace

Dependence dependence_of(std::span<const double> samples) {
  constexpr std::size_t kFewest = 30;      // below, a change of level cannot be distinguished from chance
  constexpr double kFewIndependent = 15;   // fewer: what varies does so about as slowly as the series is long
  constexpr double kSlowBeyondChance = 5;  // growth that uncorrelated neighbours do not explain
  const auto n = static_cast<double>(samples.size());
  Dependence found{.effective_n = n};
  if (samples.size() < 3) return found;
  const auto ranks = centered_ranks(samples);
  found.lag1 = lag1_of(ranks);
  double growth = variance_growth(centered_signs(ranks), found.lag1);
  if (samples.size() >= kFewest && mean_square(ranks) > 0)
    found.drift = n / growth < kFewIndependent || level_changes(ranks) ||
                  (found.lag1 < kUncorrelated && growth > kSlowBeyondChance);
  if (found.lag1 < kUncorrelated) growth = std::min(growth, kMaxUncorrelatedGrowth * kMaxUncorrelatedGrowth);
  found.effective_n = n / growth;
  return found;
}

bool is_bimodal(std::span<const double> samples) {
  constexpr double kShareBetween = 0.85, kMinShare = 0.1, kMaxBetween = 0.05, kApart = 1.01;
  if (samples.size() < 20) return false;
  std::vector<double> all(samples.begin(), samples.end());
  std::sort(all.begin(), all.end());
  const std::size_t cut = all.size() / 50;  // without the tails: one outlier would be a mode of its own
  const std::span<const double> sorted(all.data() + cut, all.size() - 2 * cut);
  const auto sums = running_sums(sorted);
  const auto n = static_cast<double>(sorted.size());
  const double mean = sums.back() / n;
  double squares = 0, best = 0;
  for (const double x : sorted) squares += (x - mean) * (x - mean);
  std::size_t split = 0;
  for (std::size_t i = 1; i < sorted.size();
       ++i) {  // Otsu: the split with the most variance between its sides
    const auto below = static_cast<double>(i);
    const double apart = sums[i] / below - (sums.back() - sums[i]) / (n - below);
    const double between = below * (n - below) / n * apart * apart;
    if (between > best) best = between, split = i;
  }
  if (squares == 0 || best < kShareBetween * squares) return false;
  if (std::min(static_cast<double>(split), n - static_cast<double>(split)) < kMinShare * n) return false;
  const double low = sorted[split / 2], high = sorted[split + (sorted.size() - split) / 2];
  if (high < kApart * low) return false;
  const auto between = std::count_if(sorted.begin(), sorted.end(), [&](double x) {
    return x > low + 0.4 * (high - low) && x < low + 0.6 * (high - low);
  });
  return static_cast<double>(between) < kMaxBetween * n;
}

}  // namespace moebench
