// SPDX-License-Identifier: Apache-2.0
// Text files built into the program (cmake/EmbedText.cmake), so that it works from anywhere.
#pragma once

#include <span>
#include <string_view>

namespace moebench {

/// One file: its name without directory and extension, and all of it.
struct EmbeddedText {
  std::string_view name;
  std::string_view text;
};

/// suites/*.json, by name.
std::span<const EmbeddedText> embedded_suites();

}  // namespace moebench
