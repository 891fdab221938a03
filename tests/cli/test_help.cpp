// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "base/text.h"
#include "cli/help.h"
#include "cli/options_flags.h"
#include "suite/expect_usage_error.h"
#include "suite/flag.h"

namespace moebench {
namespace {

constexpr Command kCommandsWithFlags[] = {
    Command::run,     Command::verify, Command::compare,   Command::ab,    Command::report, Command::memory,
    Command::project, Command::links,  Command::calibrate, Command::trace, Command::info};

std::set<std::string> flags_in(const std::string& text) {
  std::set<std::string> names;
  const std::regex flag("--([a-z][a-z-]*[a-z])");
  for (std::sregex_iterator at(text.begin(), text.end(), flag), end; at != end; ++at) names.insert((*at)[1]);
  return names;
}

TEST(Help, ListsEveryFlagOfEveryCommand) {
  for (const Command command : kCommandsWithFlags) {
    const auto shown = flags_in(help_text(name_of(command)));
    for (const FlagLine& flag : flags_of(command))
      EXPECT_TRUE(shown.contains(std::string(flag.name))) << flag.name;
  }
}

TEST(Help, RunHasEveryFlagOfACase) {
  const auto shown = flags_in(help_text("run"));
  for (const Flag& flag : flags()) EXPECT_TRUE(shown.contains(std::string(flag.name))) << flag.name;
}

TEST(Help, MentionsNoFlagThatDoesNotExist) {
  std::set<std::string> known{"help", "version"};
  for (const Command command : kCommandsWithFlags)
    for (const FlagLine& flag : flags_of(command)) known.emplace(flag.name);
  for (const std::string& topic : help_topics())
    for (const std::string& flag : flags_in(help_text(topic))) EXPECT_TRUE(known.contains(flag)) << flag;
}

TEST(Help, LeavesNoPlaceholder) {
  for (const std::string& topic : help_topics())
    EXPECT_EQ(help_text(topic).find("<!--"), std::string::npos) << topic;
}

TEST(Help, HasAPageForEveryTopicOfTheOverview) {
  const std::string overview = help_text("");
  EXPECT_EQ(overview, help_text("overview"));
  for (const std::string& topic : help_topics()) {
    if (topic != "overview") {
      EXPECT_NE(overview.find(topic), std::string::npos) << topic;
    }
  }
}

TEST(Help, NamesEveryExitCode) {
  const std::string page = help_text("exit-codes");
  for (const ExitCode code : {ExitCode::ok, ExitCode::internal, ExitCode::usage, ExitCode::environment,
                              ExitCode::incorrect, ExitCode::regression, ExitCode::partial,
                              ExitCode::communicator, ExitCode::timeout, ExitCode::interrupted})
    EXPECT_NE(page.find("\n    " + std::to_string(static_cast<int>(code)) + " "), std::string::npos)
        << static_cast<int>(code);
}

TEST(Help, FitsATerminal) {
  for (const std::string& topic : help_topics())
    for (const std::string& line : split(help_text(topic), '\n')) EXPECT_LE(line.size(), 120u) << line;
}

TEST(Help, NamesTheNearestTopic) {
  expect_usage_error([] { help_text("axis"); }, "did you mean 'axes'");
}

}  // namespace
}  // namespace moebench
