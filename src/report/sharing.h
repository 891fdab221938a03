// SPDX-License-Identifier: Apache-2.0
// Ranks that share what each would need for itself.
#pragma once

#include <string>
#include <vector>

#include "report/document.h"

namespace moebench {

/// "4 ranks share 1 GPU", "32 ranks share 2 hardware threads of node3": one sentence for each GPU and each host of which
/// that is so; none where it is not known.
std::vector<std::string> sharing_of(const Machine& machine);

}  // namespace moebench
