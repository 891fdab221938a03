// SPDX-License-Identifier: Apache-2.0
// The least time that work can take at measured ceilings, and which ceiling it is. docs/formulas.md derives it.
#pragma once

#include "bench/record.h"
#include "moe/cost.h"

namespace moebench {

struct Floor {
  double us = 0;
  Bound bound = Bound::memory;
};

/// Arithmetic and memory overlap, so the longer counts; messages do not overlap with what waits for them, so their
/// time is added; where rows travel beside the experts (StageCost::overlaps) the longer counts there, too. A ceiling that was not measured (zero) is left out. Latency is the bound where starting the work
/// (a launch, a message) takes longer than doing it.
Floor floor_of(const StageCost& cost, const Peaks& peaks);

/// 100 · floor / time; 0 where either is 0.
double limit_pct(double floor_us, double time_us);

}  // namespace moebench
