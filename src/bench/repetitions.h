// SPDX-License-Identifier: Apache-2.0
// One case measured by several processes, one record from all of them. Pure functions.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "bench/record.h"

namespace moebench {

/// 95 % interval of the median over all processes there could be, from the medians of some: from the smallest to the
/// largest, or Student's of the logarithms where that is wider; -inf and inf below 3. All medians must be above 0.
std::pair<double, double> process_interval(std::span<const double> medians);

/// The record of the process whose median is in the middle, with intervals over the processes. If one has no time, that
/// one's record. Needs at least one.
Record combine(std::span<const Record> processes);

}  // namespace moebench
