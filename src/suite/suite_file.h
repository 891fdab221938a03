// SPDX-License-Identifier: Apache-2.0
// Suites: experiments written down as JSON, each with the question it asks and the answer it expects.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "suite/flag.h"

namespace moebench {

/// {"name": …, "question": …, "expectation": …, "fixed": {flag: value}, "axes": {flag: "text" or [values]},
/// "cases": [{flag: value, …}, …], "preset": …, "method": {flag: value}}: the axes are multiplied out for each of the cases.
struct Suite {
  std::string name;
  std::string question;
  std::string expectation;
  std::string preset;           ///< names, as of --preset; empty for none
  Settings method;              ///< how to measure: flags of `run` that are no settings of a case, unread
  Settings settings;            ///< fixed values and axes alike
  std::vector<Settings> cases;  ///< values that vary together, the same flags in each; empty for none
};

/// `origin` is the file's name, for messages: "my.json:7: unknown flag 'expert' in \"axes\"; did you mean …".
/// Throws UsageError naming file, line and key for whatever is malformed, unknown, missing or given twice.
Suite parse_suite(std::string_view text, const std::string& origin);

/// A suite that is built in, by name, or a path that ends in .json. Throws UsageError if there is none.
Suite find_suite(const std::string& name_or_path);

/// All that are built in.
std::vector<Suite> built_in_suites();

}  // namespace moebench
