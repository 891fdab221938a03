// SPDX-License-Identifier: Apache-2.0
// One value per flag → one case.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "suite/case.h"
#include "suite/flag.h"

namespace moebench {

/// What this run has: what 'auto' and an absent --ranks stand for, and which words this build knows.
struct Available {
  int ranks = 1;  ///< processes launched
  std::string backend = "cpu";
  std::string comm = "self";
  std::function<std::string(const Shape&)> engine;  ///< what 'auto' stands for; "loop" if empty
  /// Words that a flag takes here, by flag; one that is not listed takes any.
  std::map<std::string, std::vector<std::string>, std::less<>> words;
};

/// `values` holds one valid value per flag. Fills in what follows from others: ranks from the machine, ep
/// from the ranks, experts from experts-per-rank. Throws UsageError for a word that this machine does not
/// know. Does not ask whether the shape is possible: that is check_possible().
Case resolve(const Settings& values, const Available& machine);

/// Throws UsageError naming what was given and what is valid.
void check_possible(const Case& point);

/// Multiplies hidden and ffn by `scale` in (0, 1] (to a multiple of 16, at least 16) and tokens (at least 1).
/// Nothing grows.
void scale_values(Settings& values, double scale);

}  // namespace moebench
