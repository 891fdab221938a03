// SPDX-License-Identifier: Apache-2.0
// What a report says before its points: tool, machine and this invocation.
#pragma once

#include <string>
#include <vector>

#include "report/document.h"

namespace moebench {

/// `argv` of this process; its program's path is left out.
Document head_of(const std::vector<std::string>& argv, Machine machine);

}  // namespace moebench
