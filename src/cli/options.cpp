// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cxxopts.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "cli/options_flags.h"

#if CXXOPTS__VERSION_MAJOR == 3 && CXXOPTS__VERSION_MINOR == 0  // Ubuntu 22.04
namespace cxxopts::exceptions {
using missing_argument = missing_argument_exception;
using exception = OptionException;
}  // namespace cxxopts::exceptions
#endif

namespace moebench {
namespace {

constexpr std::string_view kPrefix = "MOEBENCH_";

constexpr Words<Command, 13> kCommands{{{
    {Command::run, "run"},
    {Command::verify, "verify"},
    {Command::compare, "compare"},
    {Command::ab, "ab"},
    {Command::report, "report"},
    {Command::memory, "memory"},
    {Command::project, "project"},
    {Command::links, "links"},
    {Command::calibrate, "calibrate"},
    {Command::trace, "trace"},
    {Command::info, "info"},
    {Command::list, "list"},
    {Command::help, "help"},
}}};

/// apply_flag(), with `given` (--iters or MOEBENCH_ITERS) in front of what went wrong.
void apply_named(Options& options, Settings& settings, const FlagLine& flag, std::string_view text,
                 const std::string& given) {
  try {
    // A negative number is a value, though a wrong one; an axis of a case never begins with a sign.
    const bool number = flag.group != kCaseGroup && to_double(text.substr(0, text.find('%'))).has_value();
    if (!flag.value.empty() && text.size() > 1 && text.starts_with('-') && !number)
      throw UsageError(cat("needs a value, but '", text, "' follows"));
    apply_flag(options, settings, flag.name, text);
    options.given.insert(std::string(flag.name));
  } catch (const UsageError& error) {
    const std::string_view what = error.what();
    throw UsageError(what.starts_with(given) ? std::string(what) : cat(given, ": ", what));
  }
}

/// The common beginning is no likeness.
std::optional<std::string> nearest_variable(std::string_view name, const std::vector<std::string>& known) {
  std::vector<std::string> ends;
  for (const std::string& one : known) ends.push_back(one.substr(kPrefix.size()));
  const auto guess = nearest(name.substr(std::min(name.size(), kPrefix.size())), ends);
  if (!guess) return std::nullopt;
  return cat(kPrefix, *guess);
}

void apply_environment(Options& options, const Variables& environment) {
  std::vector<std::string> known;
  for (const std::string_view name : {"run", "verify", "compare", "ab", "report", "memory", "project",
                                      "links", "calibrate", "trace", "info"})
    for (const FlagLine& flag : flags_of(kCommands.parse("command", name)))
      known.push_back(variable_of(flag.name));
  for (const auto& [name, value] : environment) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const auto guess = nearest_variable(name, known);
    options.warnings.push_back(cat(name, " is not a setting of moebench and is ignored",
                                   guess ? cat("; did you mean ", *guess, "?") : std::string()));
  }
  for (const FlagLine& flag : flags_of(options.command)) {
    const std::string name = variable_of(flag.name);
    if (const auto found = environment.find(name); found != environment.end())
      apply_named(options, options.sweep.environment, flag, found->second, name);
  }
}

cxxopts::ParseResult tokenise(const std::vector<FlagLine>& flags, int argc, const char* const* argv) {
  cxxopts::Options grammar("moebench");
  grammar.allow_unrecognised_options();
  auto add = grammar.add_options();
  add("h,help", "");
  for (const FlagLine& flag : flags) {
    const auto text = cxxopts::value<std::string>();
    add(flag.name == "output" ? "o,output" : std::string(flag.name), "",
        flag.value.empty() ? text->implicit_value("on") : text);
  }
  try {
    return grammar.parse(argc, argv);
  } catch (const cxxopts::exceptions::missing_argument&) {
    throw UsageError(cat(argv[argc - 1], " needs a value"));  // only the last argument can lack one
  } catch (const cxxopts::exceptions::exception& error) {
    throw UsageError(error.what());
  }
}

[[noreturn]] void refuse_flag(Command command, std::string_view given, const std::vector<FlagLine>& flags) {
  std::vector<std::string> names;
  for (const FlagLine& flag : flags) names.push_back(cat("--", flag.name));
  const std::string name(given.substr(0, given.find('=')));
  const auto guess = nearest(name, names);
  throw UsageError(cat("unknown flag '", name, "'",
                       guess ? cat("; did you mean '", *guess, "'?") : std::string(), " ('moebench help ",
                       name_of(command), "' lists all)"));
}

/// The words between the flags, for the commands that take some.
void check_arguments(Command command, const std::vector<std::string>& arguments) {
  const bool two = command == Command::compare || command == Command::ab || command == Command::trace;
  const std::size_t max = two ? 2
                          : command == Command::help || command == Command::list || command == Command::report
                              ? 1
                              : 0;
  if (arguments.size() > max)
    throw UsageError(cat("unexpected '", arguments[max], "' after '", name_of(command),
                         "'; flags begin with -- and lists have no blanks"));
  if (command == Command::compare && arguments.size() < 2)
    throw UsageError("compare needs two reports: moebench compare BASE.json NEW.json");
  if (command == Command::report && arguments.empty())
    throw UsageError("report needs a report: moebench report FILE.json -o page.html");
  if (command == Command::ab && arguments.size() < 2)
    throw UsageError("ab needs two programs: moebench ab 'PROGRAM FLAGS' 'PROGRAM FLAGS' [-- COMMON FLAGS]");
}

/// False if help was asked for instead.
bool apply_arguments(Options& options, int argc, const char* const* argv) {
  const auto flags = flags_of(options.command);
  const auto parsed = tokenise(flags, argc, argv);
  if (parsed.count("help")) return false;
  for (const std::string& word : parsed.unmatched()) {
    const bool program = options.command == Command::ab && word.find(' ') != std::string::npos;
    if (word.size() > 1 && word.starts_with('-') && !program) refuse_flag(options.command, word, flags);
    options.arguments.push_back(word);
  }
  std::set<std::string> seen;
  for (const auto& argument : parsed.arguments()) {
    const std::string given = cat("--", argument.key());
    const auto flag =
        std::find_if(flags.begin(), flags.end(), [&](auto& f) { return f.name == argument.key(); });
    if (!seen.insert(given).second)
      throw UsageError(
          cat(given, " is given twice; ", flag->list ? "separate values with commas" : "give it once"));
    apply_named(options, options.sweep.command_line, *flag, argument.value(), given);
  }
  check_arguments(options.command, options.arguments);
  return true;
}

/// The shortest and the longest time: one that was not given follows the other.
void settle_times(Options& options) {
  Sampling& sampling = options.sampling;
  if (!options.min_time_given) sampling.min_time_s = std::min(sampling.min_time_s, sampling.max_time_s);
  if (!options.max_time_given) sampling.max_time_s = std::max(sampling.min_time_s, sampling.max_time_s);
}

void check_together(const Options& options) {
  const Sampling& sampling = options.sampling;
  if (sampling.min_time_s > sampling.max_time_s)
    throw UsageError(cat("--min-time ", sampling.min_time_s, " exceeds --max-time ", sampling.max_time_s));
  if (options.command == Command::verify && sampling.check == CheckMode::none)
    throw UsageError("verify checks nothing with --check none (or MOEBENCH_CHECK=none); valid: quick, full");
  if (sampling.recheck && sampling.check == CheckMode::none)
    throw UsageError("--recheck on repeats a check, and --check is none; valid: --check quick, --check full");
  if (!options.csv.empty() && options.csv == options.json)
    throw UsageError(cat("--json and --csv both write ", options.csv, ": give two files"));
  if (options.command == Command::report && options.output.empty())
    throw UsageError("report needs --output FILE (-o), the page to write; -: stdout");
  if (!options.peaks.empty() && !sampling.peaks)
    throw UsageError("--peaks keeps what --no-peaks does not measure: give one");
  if (options.resume && options.force)
    throw UsageError("--resume keeps a report and --force replaces it: give one");
  if (options.resume && (options.json.empty() || options.json == "-"))
    throw UsageError("--resume needs --json FILE, the report to go on with");
}

/// Takes what follows -- for the flags of both programs; returns how many words are left.
int take_common(Options& options, int argc, const char* const* argv) {
  const char* const* end = std::find(argv, argv + argc, std::string_view("--"));
  for (const char* const* word = end; word < argv + argc; ++word)
    if (word != end) options.common.emplace_back(*word);
  return static_cast<int>(end - argv);
}

Options help_about(std::string_view topic) {
  Options options;
  if (!topic.empty()) options.arguments.emplace_back(topic);
  return options;
}

}  // namespace

void settle(Options& options) {
  settle_times(options);
  check_together(options);
}

std::string_view name_of(Command command) {
  return command == Command::version ? "version" : kCommands.name(command);
}

std::vector<Command> all_commands() {
  std::vector<Command> commands;
  for (const auto& [command, word] : kCommands.entries) commands.push_back(command);
  return commands;
}

std::string variable_of(std::string_view flag) {
  std::string name(kPrefix);
  for (const char c : flag)
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

Variables moebench_variables() {
  Variables environment;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (text.starts_with(kPrefix) && equals != std::string_view::npos)
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

Options parse_options(int argc, const char* const* argv, const Variables& environment) {
  const std::string_view word = argc > 1 ? argv[1] : "help";
  if (word == "-h" || word == "--help") return help_about("");
  if (word == "--version") return {.command = Command::version};
  if (word.starts_with('-'))
    throw UsageError(cat("'", word,
                         "' comes before the command; valid: moebench "
                         "run|verify|compare|ab|report|memory|project|trace|info|list|help …"));
  Options options{.command = kCommands.parse("command", word)};
  if (options.command == Command::verify) options.sampling.check = CheckMode::full;
  apply_environment(options, environment);
  if (options.command == Command::ab) argc = take_common(options, argc, argv);
  if (argc > 1 && !apply_arguments(options, argc - 1, argv + 1)) return help_about(word);
  settle(options);
  return options;
}

}  // namespace moebench
