// SPDX-License-Identifier: Apache-2.0
#include "report/quantity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/text.h"

namespace moebench {
namespace {

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = 0;
  bool empty() const { return high == 0; }
};

Range range_of(std::span<const double> values) {
  Range range;
  for (const double value : values)
    if (std::isfinite(value) && value > 0) {
      range.low = std::min(range.low, value);
      range.high = std::max(range.high, value);
    }
  return range;
}

/// Decimals that give `value` three significant digits, from 0 to 3.
int decimals_for(double value) {
  if (value <= 0) return 0;
  // What rounds up to the next power of ten counts as it: 9.996 is 10.0, not 10.00.
  return std::clamp(2 - static_cast<int>(std::floor(std::log10(value * 1.0005))), 0, 3);
}

}  // namespace

std::string Scale::text(double value) const {
  return std::isfinite(value) ? format("%.*f", decimals, value / unit_size) : "–";
}

std::string Scale::figures(double value) const {
  if (!std::isfinite(value)) return "–";
  return format("%.*f", value == 0 ? decimals : decimals_for(value / unit_size), value / unit_size);
}

Scale time_scale(std::span<const double> microseconds) {
  const Range range = range_of(microseconds);
  if (range.empty()) return {.unit = "µs"};
  // One unit for all: that of the smallest, unless the largest would be unreadable in it.
  const double typical = range.high / range.low > 1e4 ? std::sqrt(range.low * range.high) : range.low;
  Scale scale{.unit = "µs"};
  if (typical >= 999.5) scale = {.unit_size = 1e3, .unit = "ms"};
  if (typical >= 999.5e3) scale = {.unit_size = 1e6, .unit = "s"};
  scale.decimals = decimals_for(range.low / scale.unit_size);
  return scale;
}

Scale flops_scale(std::span<const double> tflops) {
  const Range range = range_of(tflops);
  Scale scale{.unit = "TFLOP/s"};
  if (!range.empty() && range.high < 1) scale = {.unit_size = 1e-3, .unit = "GFLOP/s"};
  scale.decimals = range.empty() ? 0 : decimals_for(range.low / scale.unit_size);
  return scale;
}

Scale plain_scale(std::span<const double> values) {
  const Range range = range_of(values);
  return {.decimals = range.empty() ? 0 : decimals_for(range.low)};
}

std::string time_text(double microseconds) {
  if (!std::isfinite(microseconds)) return "?";
  const Scale scale = time_scale({&microseconds, 1});
  return cat(scale.text(microseconds), " ", scale.unit);
}

std::string percent_text(double percent) {
  if (!std::isfinite(percent)) return "?";
  return format("%.*f %%", std::abs(percent) < 0.995 ? 2 : std::abs(percent) < 9.95 ? 1 : 0, percent);
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<long>(std::max(0.0, seconds) + 0.5);
  if (whole < 3600) return format("%ld:%02ld", whole / 60, whole % 60);
  return format("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace moebench
