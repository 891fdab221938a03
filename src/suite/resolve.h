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

/// Capabilities of this run: what 'auto' and an absent --ranks stand for, which words this build knows, what can run.
struct RunCapabilities {
  int ranks = 1;  ///< processes launched
  BackendName backend = "cpu";
  CommName comm = "self";
  std::function<std::string(const Shape&)> engine;  ///< what 'auto' stands for; "loop" if empty
  /// Words that a flag takes here, by flag; one that is not listed takes any.
  std::map<std::string, std::vector<std::string>, std::less<>> words;
  bool peers_share_memory = false;  ///< ranks are on one host, and GPUs, if any, one for each
  /// Why a case cannot run here; empty if it can. If not set, why_not() below.
  std::function<std::string(const Case&)> why_not;
};

/// `values` holds one valid value per flag. Fills in what follows from others: ranks from the machine, ep
/// from the ranks, experts from experts-per-rank, the passes from the subject. Throws UsageError for a word that this
/// machine does not know. Does not ask whether the case can run: that is why_not().
Case resolve(const Settings& values, const RunCapabilities& machine);

/// Why no machine could run this case, whatever the backend: its sizes, its gate; empty if one could.
std::string why_not(const Case& point);

}  // namespace moebench
