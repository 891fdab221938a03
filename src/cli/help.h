// SPDX-License-Identifier: Apache-2.0
// The help pages: help.md, built into the program, with its lists of flags made from the flag tables.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moebench {

/// "overview", "run", …, "axes", "exit-codes".
std::vector<std::string> help_topics();

/// One page, ready to print; an empty topic is the overview. Throws UsageError naming the topics.
std::string help_text(std::string_view topic);
/// The same for a terminal of so many columns: paragraphs are filled again and lists folded. 0: as above.
std::string help_text(std::string_view topic, int columns);

/// The words of a page, without its heading and its list of flags.
std::string help_page(std::string_view topic);

}  // namespace moebench
