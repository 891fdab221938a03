// SPDX-License-Identifier: Apache-2.0
// What the system says of itself in small files, below /proc and /sys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moebench {

/// A file's text without the white space at its ends; empty if it cannot be read.
std::string system_text(const std::filesystem::path& file);

/// Entries of `directory` named `prefix` and a number, with their numbers, by number.
std::vector<std::pair<std::int64_t, std::filesystem::path>> numbered(const std::filesystem::path& directory,
                                                                     std::string_view prefix);

}  // namespace moebench
