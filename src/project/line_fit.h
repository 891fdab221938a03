// SPDX-License-Identifier: Apache-2.0
// A latency and a rate from measured exchanges: t = α + bytes/B.
#pragma once

#include <span>

namespace moebench {

struct TimedBytes {
  double bytes = 0, seconds = 0;
};

struct Line {
  double latency_s = 0;
  double bytes_per_s = 0;

  double seconds(double bytes) const { return latency_s + bytes / bytes_per_s; }
};

/// Weighted least squares with weights 1/t²: relative errors count alike for small and large messages. Throws UsageError
/// for fewer than two different sizes, for what is not above zero, and if times fall with bytes.
Line fit_line(std::span<const TimedBytes> points);
/// The same, but through the origin where the line's latency would be below zero: links that let a first burst pass are
/// faster for small messages.
Line fit_link(std::span<const TimedBytes> points);

/// How far the line is from a point, in percent of its time; positive if the line is slower.
double error_pct(const Line& line, const TimedBytes& point);
/// The largest of these by magnitude, and their root mean square.
double largest_error_pct(const Line& line, std::span<const TimedBytes> points);
double rms_error_pct(const Line& line, std::span<const TimedBytes> points);

}  // namespace moebench
