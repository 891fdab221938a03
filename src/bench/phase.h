// SPDX-License-Identifier: Apache-2.0
// What a case is being put through, for whoever shows progress.
#pragma once

#include <functional>
#include <string_view>

namespace moebench {

/// Called with "checking", "warming up", … when that begins.
using TellPhase = std::function<void(std::string_view)>;

}  // namespace moebench
