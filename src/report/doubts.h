// SPDX-License-Identifier: Apache-2.0
// What should make a reader doubt figures: the same sentences below a table and on a page.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/record.h"

namespace moebench {

/// From here on a "least time" was beaten by more than noise explains: the ceiling it is made of is wrong.
inline constexpr double kDoubtfulLimitPct = 105;

/// Whether the precision that was asked for was not reached. An exact number of samples asks for none.
bool missed_target(const Record& record);

/// The stages' medians added up, and half the width of the sum's 95 % interval (infinite if one stage has none).
struct StageSum {
  double us = 0, half_width_us = 0;
};
StageSum stage_sum(const Record& record);

/// One sentence for each kind of doubt about the times of these records, with how many of them it concerns.
std::vector<std::string> doubts_of(std::span<const Record> records);

/// The same about the stages of one record; none if they were not measured.
std::vector<std::string> stage_doubts_of(const Record& record);

}  // namespace moebench
