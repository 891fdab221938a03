// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cli/options_flags.h"
#include "report/grid.h"
#include "suite/embedded.h"

namespace moebench {

std::span<const EmbeddedText> embedded_help();

namespace {

constexpr std::string_view kHeading = "# ";
constexpr std::string_view kFlagsOf = "<!-- flags of ";

struct Page {
  std::string topic;
  std::vector<std::string> lines;
};

/// help.md cut at its first-level headings: "# run: measure" begins the page of the topic "run".
std::vector<Page> pages() {
  std::vector<Page> pages;
  for (std::string& line : split(embedded_help().front().text, '\n')) {
    if (line.starts_with(kHeading)) pages.push_back({line.substr(2, line.find(':') - 2), {}});
    if (!pages.empty()) pages.back().lines.push_back(std::move(line));
  }
  return pages;
}

/// "  --top-k N          experts that each token goes to [2]", under a heading per group.
std::string flag_list(Command command) {
  std::string text;
  std::string_view group;
  for (const FlagLine& flag : flags_of(command)) {
    if (flag.group != group) text += cat(group.empty() ? "" : "\n", flag.group, ":\n");
    group = flag.group;
    const std::string left = cat("  --", flag.name, flag.value.empty() ? "" : " ", flag.value);
    text += format("%-32s ", left.c_str());
    if (left.size() > 31) text += format("\n%-33s", "");
    text +=
        cat(flag.help, flag.default_value.empty() ? std::string() : cat(" [", flag.default_value, "]"), "\n");
  }
  return text;
}

std::string expanded(const std::string& line) {
  if (!line.starts_with(kFlagsOf)) return line + "\n";
  const std::string_view name = std::string_view(line).substr(kFlagsOf.size());
  for (const Command command :
       {Command::run, Command::verify, Command::compare, Command::ab, Command::report, Command::memory,
        Command::project, Command::links, Command::calibrate, Command::trace, Command::info})
    if (name.starts_with(name_of(command))) return flag_list(command);
  return {};
}

/// Whether a line is part of a paragraph: no list, no command to copy, no heading.
bool is_prose(std::string_view line) {
  return !line.empty() && line.front() != ' ' && line.front() != '#' && !line.ends_with(':');
}

/// Paragraphs as one line each.
std::string joined(const std::string& text) {
  std::string lines;
  bool prose = false;
  for (const std::string& line : split(text, '\n')) {
    if (!lines.empty()) lines += prose && is_prose(line) ? ' ' : '\n';
    lines += line;
    prose = is_prose(line);
  }
  return lines;
}

}  // namespace

std::vector<std::string> help_topics() {
  std::vector<std::string> topics;
  for (const Page& page : pages()) topics.push_back(page.topic);
  return topics;
}

std::string help_text(std::string_view topic) {
  const std::string_view wanted = topic.empty() ? "overview" : topic;
  for (const Page& page : pages()) {
    if (page.topic != wanted) continue;
    std::string text;
    for (const std::string& line : page.lines) text += expanded(line);
    return text.substr(0, text.find_last_not_of('\n') + 1) + "\n";
  }
  throw_unknown("help topic", topic, help_topics());
}

std::string help_text(std::string_view topic, int columns) {
  const std::string text = help_text(topic);
  std::size_t widest = 0;
  for (const std::string& line : split(text, '\n')) widest = std::max(widest, display_width(line));
  const auto limit = static_cast<std::size_t>(columns);
  return columns == 0 || widest <= limit ? text : folded(joined(text), limit);
}

std::string help_page(std::string_view topic) {
  std::string text;
  for (const Page& page : pages())
    if (page.topic == topic)
      for (const std::string& line : page.lines)
        if (!line.starts_with(kFlagsOf) && !line.starts_with(kHeading)) text += line + "\n";
  const auto begin = text.find_first_not_of('\n'), end = text.find_last_not_of('\n');
  return begin == std::string::npos ? std::string() : text.substr(begin, end - begin + 1);
}

}  // namespace moebench
