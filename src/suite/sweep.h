// SPDX-License-Identifier: Apache-2.0
// From what the user asked for to the list of cases to measure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "suite/case.h"
#include "suite/flag.h"
#include "suite/resolve.h"

namespace moebench {

/// What the user asked for. A flag set in several places takes the last of: defaults, fallback, preset, suite,
/// environment, command line; its whole axis is replaced, never merged.
struct SweepRequest {
  std::string suite, preset;  ///< names (or a path to a .json suite); empty for none
  Settings fallback;          ///< over the defaults, and under all else
  Settings environment, command_line;
  double scale = 1;            ///< in (0, 1]
  std::string filter;          ///< suite/filter.h; sees the values after scaling
  std::size_t max_points = 0;  ///< 0: all
};

struct Sweep {
  std::vector<Case> cases;         ///< at least one; all different; all possible shapes
  std::vector<std::string> notes;  ///< what was dropped or overridden, for the user
};

/// The cartesian product of all axes, for each case of the suite. Cases that need more ranks than were launched
/// are kept: the runner skips them. Throws UsageError before anything runs if any case is impossible or none is left.
Sweep expand_sweep(const SweepRequest& request, const Available& machine);

/// The values one flag takes over the sweep, before filters; empty if it follows from other flags. What to
/// ask for `comm` before the ranks can be joined.
std::vector<std::string> values_of(const SweepRequest& request, std::string_view flag);

}  // namespace moebench
