// SPDX-License-Identifier: Apache-2.0
// What the user asked for, read once: preset, suite, environment and command line laid over each other.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "suite/filter.h"
#include "suite/flag.h"

namespace moebench {

/// What the user asked for. A flag set in several places takes the last of: defaults, fallback, preset, suite,
/// environment, command line; its whole axis is replaced, never merged.
struct SweepRequest {
  std::string suite;   ///< a name, or a path to a .json suite; empty for none
  std::string preset;  ///< names, separated by commas; empty for none
  Settings fallback;   ///< over the defaults, and under all else
  Settings environment, command_line;
  double scale = 1;            ///< in (0, 1]
  std::string filter;          ///< suite/filter.h; sees the values after scaling
  std::size_t max_points = 0;  ///< 0: all
};

/// One flag and the values it takes, in the flag's own spelling and after --scale.
struct Axis {
  const Flag* flag;
  std::vector<std::string> values;
};

/// A request as data: no file and no text is read after this.
struct SweepAxes {
  std::string suite;                        ///< the suite's own name; empty for none
  std::vector<std::vector<Axis>> products;  ///< each multiplied out: one per preset and case of the suite
  std::vector<const Flag*> typed;           ///< the flags of the environment and the command line
  std::vector<Condition> filter;
  std::string filter_text;
  std::size_t max_points = 0;
  std::vector<std::string> notes;  ///< what was overridden or scaled, for the user

  /// The values one flag takes, before the filter; empty if it follows from other flags.
  std::vector<std::string> values_of(std::string_view flag) const;
  /// The one word of a flag that holds for the whole run (Flag::per_run); "auto" if nothing is said. Throws UsageError
  /// for several.
  std::string only(std::string_view flag) const;
  /// The largest of --ranks; 1 if it is not given.
  std::int64_t max_ranks() const;
};

/// Reads the suite's file. Throws UsageError for whatever is malformed or unknown, and for too many cases.
SweepAxes read_sweep(const SweepRequest& request);

}  // namespace moebench
