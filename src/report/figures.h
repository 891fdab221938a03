// SPDX-License-Identifier: Apache-2.0
// Figures of records as SVG: times with their intervals, rates along an axis, stages end to end.
#pragma once

#include <span>
#include <string>

#include "bench/record.h"

namespace moebench {

/// A bar per record with a time, its 95 % interval and its least time. What misses its target, was not checked or
/// beats its limit has a "!" behind its figure. Empty if no record has a time; the first 60 if there are more.
std::string time_figure(std::span<const Record> records);

/// Rates along the number that varies most, a curve for each combination of what else varies. Empty where no number
/// has three values, or there are more than eight curves.
std::string curve_figure(std::span<const Record> records);

/// The stages of each record end to end, beside the whole. A stage that beats its limit has a red frame. Empty if no
/// record has stages.
std::string stage_figure(std::span<const Record> records);

}  // namespace moebench
