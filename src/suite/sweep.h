// SPDX-License-Identifier: Apache-2.0
// From what the user asked for to the list of cases to measure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "suite/case.h"
#include "suite/resolve.h"
#include "suite/sweep_axes.h"

namespace moebench {

/// A combination of the axes that cannot run, and why.
struct LeftOut {
  Case point;
  std::string reason;
};

struct Sweep {
  std::vector<Case> cases;  ///< at least one; all different; all can run on enough ranks with enough memory
  std::vector<LeftOut> left_out;   ///< in the order of the sweep
  std::vector<std::string> notes;  ///< what was dropped, overridden or left out, for the user
};

/// The cartesian product of all axes. Combinations that cannot run (RunCapabilities::why_not) are left out; cases that need
/// more ranks than were launched are kept: the runner skips them. Throws UsageError if no case is left: of a single one
/// with the reason why it cannot run.
Sweep expand_sweep(const SweepAxes& axes, const RunCapabilities& machine);
inline Sweep expand_sweep(const SweepRequest& request, const RunCapabilities& machine) {
  return expand_sweep(read_sweep(request), machine);
}

}  // namespace moebench
