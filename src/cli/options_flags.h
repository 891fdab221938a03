// SPDX-License-Identifier: Apache-2.0
// The flags that do not decide what a case computes (those are in suite/flag.h), and which command has which.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.h"

namespace moebench {

/// The heading of the flags in suite/flag.h.
inline constexpr std::string_view kCaseGroup = "What to measure";

struct OptionFlag {
  std::string_view group;  ///< heading in help: "What to run", "How to measure", "Output"
  std::string_view name;
  std::string_view value;          ///< what stands for its value in help; empty for a switch
  std::string_view default_value;  ///< as help shows it; empty if there is nothing to show
  std::string_view help;
  std::vector<Command> commands;
  /// Puts a value into the options; a switch gets on or off. Throws UsageError saying what is valid.
  void (*apply)(Options&, std::string_view);
  bool list = false;  ///< whether several values may stand there, separated by commas
};

std::span<const OptionFlag> option_flags();
/// Those of `memory` only.
std::vector<OptionFlag> memory_flags();
/// Those of `project` that are not of a case.
std::vector<OptionFlag> project_flags();
/// Those of `links` and `calibrate`.
std::vector<OptionFlag> links_flags();
/// The value of a switch. Throws UsageError.
bool parse_on(std::string_view word);

/// One row for a parser or a help page, from either table.
struct FlagLine {
  std::string_view group, name, value, default_value, help;
  bool list = false;
};

/// Every flag of a command: those of the case first.
std::vector<FlagLine> flags_of(Command command);

/// Gives `flag` of options.command the value `text`; `settings` is the layer of options.sweep that case flags
/// go to. Throws UsageError.
void apply_flag(Options& options, Settings& settings, std::string_view flag, std::string_view text);

}  // namespace moebench
