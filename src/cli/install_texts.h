// SPDX-License-Identifier: Apache-2.0
// What an installation has beside the program: a man page and completions, made from the help pages and the flag tables.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace moebench {

/// For moebench.1 ("man"), or a shell's completion ("completion-bash", "completion-zsh", "completion-fish"); nothing for
/// any other word.
std::optional<std::string> install_text(std::string_view word);

}  // namespace moebench
