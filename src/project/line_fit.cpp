// SPDX-License-Identifier: Apache-2.0
#include "project/line_fit.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace moebench {

Line fit_line(std::span<const TimedBytes> points) {
  double w = 0, wx = 0, wxx = 0, wt = 0, wxt = 0;
  bool differ = false;
  for (const TimedBytes& point : points) {
    if (!(point.seconds > 0 && point.bytes >= 0 && std::isfinite(point.seconds) &&
          std::isfinite(point.bytes)))
      throw UsageError(cat("cannot fit a line through ", point.bytes, " bytes in ", point.seconds, " s"));
    differ = differ || point.bytes != points.front().bytes;
    const double weight = 1 / (point.seconds * point.seconds);
    w += weight;
    wx += weight * point.bytes;
    wxx += weight * point.bytes * point.bytes;
    wt += weight * point.seconds;
    wxt += weight * point.bytes * point.seconds;
  }
  if (!differ) throw UsageError("a line needs two different numbers of bytes");
  const double slope = (w * wxt - wx * wt) / (w * wxx - wx * wx);
  if (!(slope > 0)) throw UsageError("cannot fit a rate: more bytes did not take longer");
  return {.latency_s = (wt - slope * wx) / w, .bytes_per_s = 1 / slope};
}

Line fit_link(std::span<const TimedBytes> points) {
  const Line line = fit_line(points);
  if (line.latency_s >= 0) return line;
  double wxx = 0, wxt = 0;
  for (const TimedBytes& point : points) {
    const double relative = point.bytes / point.seconds;
    wxx += relative * relative;
    wxt += relative;
  }
  return {.latency_s = 0, .bytes_per_s = wxx / wxt};
}

double error_pct(const Line& line, const TimedBytes& point) {
  return 100 * (line.seconds(point.bytes) / point.seconds - 1);
}

double largest_error_pct(const Line& line, std::span<const TimedBytes> points) {
  double largest = 0;
  for (const TimedBytes& point : points) largest = std::max(largest, std::abs(error_pct(line, point)));
  return largest;
}

double rms_error_pct(const Line& line, std::span<const TimedBytes> points) {
  double sum = 0;
  for (const TimedBytes& point : points) sum += error_pct(line, point) * error_pct(line, point);
  return points.empty() ? 0 : std::sqrt(sum / static_cast<double>(points.size()));
}

}  // namespace moebench
