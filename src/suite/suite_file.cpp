// SPDX-License-Identifier: Apache-2.0
#include "suite/suite_file.h"

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "suite/axis.h"
#include "suite/embedded.h"
#include "suite/json_entries.h"

namespace moebench {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1}
                                  << 20;  // a suite is a page of text: a larger file is a mistake

/// Runs `body`, putting "file:line: " before the message of any UsageError.
template <class Body>
void at_line(const std::string& origin, int line, const Body& body) {
  try {
    body();
  } catch (const UsageError& error) {
    throw UsageError(cat(origin, ":", line, ": ", error.what()));
  }
}

const std::vector<std::string> kKeys{"name", "question", "expectation", "fixed",
                                     "axes", "cases",    "preset",      "method"};
const std::vector<std::string> kMethodKeys{"warmup", "iters", "min-time", "max-time",
                                           "noise",  "check", "recheck",  "interleave"};

/// Puts a flag of "method" into the suite. Its value is checked by the parser of that flag.
void add_method(Suite& suite, const JsonEntry& entry) {
  if (std::find(kMethodKeys.begin(), kMethodKeys.end(), entry.key) == kMethodKeys.end())
    throw_unknown("flag of \"method\"", entry.key, kMethodKeys);
  if (entry.is_array || entry.is_object || entry.values.size() != 1)
    throw UsageError(cat("\"", entry.key, "\" in \"method\" must be one value"));
  suite.method[entry.key] = entry.values.front();
}

/// Puts a flag of "fixed", "axes" or one of "cases" into the suite.
void add_setting(Suite& suite, const JsonEntry& entry) {
  const Flag& flag = find_flag(entry.key);
  const bool of_case = entry.item >= 0;
  if (of_case && static_cast<std::size_t>(entry.item) >= suite.cases.size()) suite.cases.emplace_back();
  Settings& settings = of_case ? suite.cases.back() : suite.settings;
  const bool in_cases = !suite.cases.empty() && suite.cases.front().contains(flag.name);
  if (suite.settings.contains(flag.name) || (!of_case && in_cases))
    throw UsageError(cat("\"", flag.name, "\" is in two of \"fixed\", \"axes\" and \"cases\""));
  if (entry.values.empty()) throw UsageError(cat("\"", flag.name, "\" has no value"));
  if (entry.is_boolean && flag.value != "on|off" && flag.value != "off|on")
    throw UsageError(cat("\"", flag.name, "\" takes ", flag.value, ", not true or false"));
  const std::string text = join(entry.values, ",");
  if (entry.section != "axes" && (entry.is_array || expand_axis(flag, text).size() != 1))
    throw UsageError(
        cat("\"", flag.name, "\" in \"", entry.section, "\" must be one value; several belong in \"axes\""));
  set(settings, flag.name, text);
}

/// A flag that only some cases set would have no value in the others that a table could show.
void require_same_flags(const std::vector<Settings>& cases) {
  for (const Settings& one : cases)
    for (const auto& [flag, value] : cases.front())
      if (!one.contains(flag) || one.size() != cases.front().size())
        throw UsageError("every case of \"cases\" must set the same flags");
}

void add_key(Suite& suite, const JsonEntry& entry) {
  if (std::find(kKeys.begin(), kKeys.end(), entry.key) == kKeys.end()) throw_unknown("key", entry.key, kKeys);
  if (entry.key == "fixed" || entry.key == "axes" || entry.key == "method") {
    if (!entry.is_object || entry.is_array)
      throw UsageError(cat("\"", entry.key, "\" must be an object of flags"));
    return;  // its flags are entries of their own
  }
  if (entry.key == "cases") {
    if (!entry.is_object || !entry.is_array || !entry.values.empty())
      throw UsageError("\"cases\" must be an array of objects of flags");
    return;
  }
  if (!entry.is_string || entry.is_array || entry.values.front().empty())
    throw UsageError(cat("\"", entry.key, "\" must be a text that is not empty"));
  (entry.key == "name"       ? suite.name
   : entry.key == "preset"   ? suite.preset
   : entry.key == "question" ? suite.question
                             : suite.expectation) = entry.values.front();
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  // A directory opens on Linux and fails to read: both end here, as a file that says nothing does.
  if (text.empty()) throw UsageError(cat("suite '", path, "' cannot be read or is empty"));
  if (text.size() > kMaxBytes)
    throw UsageError(cat("suite '", path, "' is larger than ", kMaxBytes, " bytes"));
  return text;
}

}  // namespace

Suite parse_suite(std::string_view text, const std::string& origin) {
  Suite suite;
  for (const JsonEntry& entry : json_entries(text, origin)) {
    at_line(origin, entry.line, [&] {
      entry.section.empty()       ? add_key(suite, entry)
      : entry.section == "method" ? add_method(suite, entry)
                                  : add_setting(suite, entry);
    });
  }
  at_line(origin, 1, [&] { require_same_flags(suite.cases); });
  if (suite.name.empty()) throw UsageError(cat(origin, ":1: the key \"name\" is missing"));
  return suite;
}

Suite find_suite(const std::string& name_or_path) {
  if (name_or_path.ends_with(".json")) return parse_suite(read_file(name_or_path), name_or_path);
  std::vector<std::string> names;
  for (const EmbeddedText& suite : embedded_suites()) {
    if (suite.name == name_or_path) return parse_suite(suite.text, cat(suite.name, ".json"));
    names.emplace_back(suite.name);
  }
  names.push_back("a path that ends in .json");
  throw_unknown("suite", name_or_path, names);
}

std::vector<Suite> built_in_suites() {
  std::vector<Suite> suites;
  for (const EmbeddedText& suite : embedded_suites())
    suites.push_back(parse_suite(suite.text, cat(suite.name, ".json")));
  return suites;
}

}  // namespace moebench
