// SPDX-License-Identifier: Apache-2.0
// Input sets that iterations rotate over, so that no iteration finds its input in the cache unless it shall.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "moe/workload.h"
#include "suite/case.h"

namespace moebench {

/// x and dy [T, H] of one step; dy only with backward.
struct InputSet {
  Tensor x, dy;
};

/// How many sets of this size together exceed twice the last-level cache: 1 … 16.
int input_sets_needed(const Shape& shape, std::size_t cache_bytes);

/// The same for a case: one if its inputs shall be found in the cache. A multiple of its routing steps: set i has the
/// routing of step i modulo these.
int input_sets_of(const Case& bench_case, std::size_t cache_bytes);

/// Sets 0 … n-1 hold this rank's tokens of steps 0 … n-1.
std::vector<InputSet> make_inputs(const Workload& workload, int rank, bool backward, int count,
                                  Backend& backend);

}  // namespace moebench
