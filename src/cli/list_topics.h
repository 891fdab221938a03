// SPDX-License-Identifier: Apache-2.0
// What `moebench list` can show, in the order in which it does.
#pragma once

#include <array>
#include <string_view>

namespace moebench {

inline constexpr std::array<std::string_view, 10> kListTopics{
    "suites",  "presets",  "gates", "routings", "gate-routings",
    "engines", "backends", "comms", "fabrics",  "stages"};

}  // namespace moebench
