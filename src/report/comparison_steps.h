// SPDX-License-Identifier: Apache-2.0
// The routing steps of two sides, step by step: what a median over all of them hides.
#pragma once

#include <span>
#include <vector>

#include "report/comparison.h"

namespace moebench {

/// "step 3" of A against "step 3" of B, for points whose iterations rotate through routing steps; empty unless all records have
/// the same number of steps, at least two, each with times. As many tests are made as there are steps: a step is slower or
/// faster only if its p is below alpha / steps.
std::vector<PartComparison> judge_steps(std::span<const Record* const> a, std::span<const Record* const> b,
                                        const CompareOptions& options);

}  // namespace moebench
