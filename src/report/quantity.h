// SPDX-License-Identifier: Apache-2.0
// Numbers for people: one unit and one number of decimals for a column, enough digits and no more.
#pragma once

#include <span>
#include <string>

namespace moebench {

/// How the values of one column are written.
struct Scale {
  double unit_size = 1;  ///< a value is divided by it
  std::string unit;
  int decimals = 0;

  /// "1.83"; "–" for what is not finite.
  std::string text(double value) const;
  /// The same with three significant digits of its own, where one column spans orders of magnitude: "0.73", "11278".
  std::string figures(double value) const;
};

/// For times in microseconds: µs, ms or s, so that the smallest shows three significant digits if three
/// decimals can do it. Values that are not positive and finite are left out of account.
Scale time_scale(std::span<const double> microseconds);
/// For rates in TFLOP/s: TFLOP/s or GFLOP/s.
Scale flops_scale(std::span<const double> tflops);
/// Without a unit of its own.
Scale plain_scale(std::span<const double> values);

/// "1.83 ms".
std::string time_text(double microseconds);
/// "0.42 %", "12 %"; "?" for what is not finite.
std::string percent_text(double percent);
/// "0:42", "1:02:03".
std::string clock_text(double seconds);

}  // namespace moebench
