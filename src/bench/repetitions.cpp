// SPDX-License-Identifier: Apache-2.0
#include "bench/repetitions.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

/// Two-sided 95 % quantile of Student's t: exact to 3 decimals up to 10 degrees of freedom, then Cornish and Fisher's
/// expansion.
double student95(std::size_t free) {
  constexpr double kExact[] = {0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
  if (free < std::size(kExact)) return kExact[free];
  constexpr double z = 1.959963984540054;
  const auto v = static_cast<double>(free);
  return z + (z * z * z + z) / (4 * v) + (5 * std::pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * v * v);
}

/// Standard deviation of the logarithms: a relative spread.
double log_spread(std::span<const double> values, double& mean) {
  mean = 0;
  for (const double x : values) mean += std::log(x) / static_cast<double>(values.size());
  double squares = 0;
  for (const double x : values) squares += (std::log(x) - mean) * (std::log(x) - mean);
  return values.size() < 2 ? 0 : std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return percentile(values, 50);
}

/// The middle process' summary with the interval over all.
void widen(Summary& summary, const std::vector<double>& medians) {
  const auto [low, high] = process_interval(medians);
  summary.ci95_low = std::min(low, summary.p50);
  summary.ci95_high = std::max(high, summary.p50);
}

}  // namespace

std::pair<double, double> process_interval(std::span<const double> medians) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (medians.size() < 3) return {-kInfinity, kInfinity};
  double mean = 0;
  const double spread = log_spread(medians, mean);
  const double reach =
      student95(medians.size() - 1) * spread / std::sqrt(static_cast<double>(medians.size()));
  std::vector<double> sorted(medians.begin(), medians.end());
  std::sort(sorted.begin(), sorted.end());
  // The range of 5 covers with 93.75 %, of 6 with 96.9 %: from there on order statistics do.
  const auto rank =
      static_cast<std::size_t>(std::max(1, median_interval_rank(static_cast<int>(sorted.size()))));
  return {std::min(sorted[rank - 1], std::exp(mean - reach)),
          std::max(sorted[sorted.size() - rank], std::exp(mean + reach))};
}

Record combine(std::span<const Record> processes) {
  MB_ASSERT(!processes.empty());
  for (const Record& record : processes)
    if (!has_times(record)) return record;
  std::vector<const Record*> order;
  for (const Record& record : processes) order.push_back(&record);
  const auto median_us = [](const Record* record) { return record->time.at("total").device.p50; };
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>((order.size() - 1) / 2);
  std::nth_element(order.begin(), middle, order.end(),
                   [&](const Record* a, const Record* b) { return median_us(a) < median_us(b); });
  Record record = **middle;
  if (processes.size() == 1) return record;
  std::vector<double> within;
  for (const Record& process : processes) {
    record.repetitions.median_us.push_back(median_us(&process));
    within.push_back(median_error_pct(process.time.at("total").device));
  }
  double mean = 0;
  const double typical = median_of(std::move(within));
  record.repetitions.within_pct = std::isinf(typical) ? std::nan("") : typical;
  record.repetitions.between_pct = 100 * log_spread(record.repetitions.median_us, mean);
  for (auto& [name, time] : record.time) {
    std::vector<double> medians;
    for (const Record& process : processes)
      if (const auto found = process.time.find(name);
          found != process.time.end() && found->second.device.p50 > 0)
        medians.push_back(found->second.device.p50);
    if (medians.size() == processes.size()) widen(time.device, medians);
  }
  const double error = median_error_pct(record.time.at("total").device);
  record.stop.unmet.clear();
  if (!(error <= record.stop.noise_target_pct))
    record.stop.unmet = std::isinf(error) ? cat("noise between ", processes.size(), " processes unknown")
                                          : format("noise between %zu processes %.4g %% > target %.3g %%",
                                                   processes.size(), error, record.stop.noise_target_pct);
  return record;
}

}  // namespace moebench
