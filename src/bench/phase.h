// SPDX-License-Identifier: Apache-2.0
// What is done with a case, for the progress display.
#pragma once

#include <functional>
#include <string_view>

namespace moebench {

/// Called with "checking", "warming up", … when that begins.
using TellPhase = std::function<void(std::string_view)>;

}  // namespace moebench
