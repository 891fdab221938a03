// SPDX-License-Identifier: Apache-2.0
// `run --plan`: what would be measured, what it needs, and what cannot be.
#pragma once

#include <ostream>

#include "backends/capabilities.h"
#include "bench/sampling.h"
#include "suite/sweep.h"

namespace moebench {

/// What a run of the sweep would have.
struct PlanLimits {
  int ranks = 1;
  int local_ranks = 1;          ///< of them on this host
  bool shared_memory = false;   ///< ranks of one host share its memory
  double available_bytes = 0;   ///< of this host or device
  double host_bytes = 0;        ///< available on this host
  std::size_t cache_bytes = 0;  ///< last level: inputs are rotated past it
};

/// One line per case: its settings, then what it needs, or why it would be skipped; then one for each combination that
/// was left out. Times are those of sampling, all cases so far together: building, checking and peaks come on top.
void print_plan(std::ostream& out, const Sweep& sweep, const Sampling& sampling, const Capabilities& backend,
                const PlanLimits& limits);

}  // namespace moebench
