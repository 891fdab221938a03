// SPDX-License-Identifier: Apache-2.0
#include "cli/identity.h"

#include <algorithm>

#include "base/text.h"
#include "bench/environment.h"
#include "cli/commands.h"
#include "cli/options_flags.h"

namespace moebench {
namespace {

/// A launcher may hand variables to some hosts only, and these make no difference there.
bool is_of_the_first_rank(std::string_view flag) {
  for (const std::string_view name : {"json", "csv", "quiet", "samples", "resume", "force"})
    if (flag == cat("--", name) || flag == variable_of(name)) return true;
  return false;
}

bool is_a_variable(const std::string& variable) {
  for (const Command command : {Command::run, Command::verify, Command::info})
    for (const FlagLine& flag : flags_of(command))
      if (variable == variable_of(flag.name)) return true;
  return false;
}

}  // namespace

Identity identity_of(const std::vector<std::string>& argv, const Variables& environment) {
  Identity identity{.build = cat(version_text(), ", ", tool_facts().flags)};
  if (argv.size() > 1) identity.command.emplace_back("command", argv[1]);
  for (std::size_t i = 2; i < argv.size(); ++i) {
    const std::size_t equals = argv[i].find('=');
    const std::string flag = argv[i].substr(0, equals);
    std::string value = equals == std::string::npos ? "on" : argv[i].substr(equals + 1);
    const bool has_next = i + 1 < argv.size() && !argv[i + 1].starts_with("--");
    if (equals == std::string::npos && has_next) value = argv[++i];
    if (!is_of_the_first_rank(flag)) identity.command.emplace_back(flag, value);
  }
  for (const auto& [name, value] : environment)
    if (is_a_variable(name) && !is_of_the_first_rank(name)) identity.environment.emplace_back(name, value);
  return identity;
}

}  // namespace moebench
