// SPDX-License-Identifier: Apache-2.0
// The flags that decide what a case computes: the one table behind the command line, the environment, suite
// files, presets, filters and records.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "suite/case.h"

namespace moebench {

/// One flag. Every flag is an axis: wherever a value may stand, several may (suite/axis.h).
struct Flag {
  std::string_view name;           ///< "top-k": --top-k, MOEBENCH_TOP_K, the key in suites and records
  std::string_view value;          ///< placeholder for its value in help: "N" or "gelu|swiglu"
  std::string_view default_value;  ///< used if no value is given; empty if that follows from ranks and ep
  std::string_view help;
  bool number = false;  ///< a whole number in [least, most]; otherwise a word
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  std::string_view replaces;  ///< the other flag that sets the same thing in other terms, if any
  /// Added later: at its default it is left out of the case id, so that reports written before still match.
  bool omitted_from_id_at_default = false;
  bool per_run = false;        ///< one value for all cases of a run: ranks and backend are opened once
  std::int64_t scaled_to = 0;  ///< --scale shrinks it to a multiple of this; 0: not at all
  std::string_view reader;     ///< of a flag that few cases read, which and how: "engine streams reads"
  /// Whether it changes what a case of this subject computes; null: of every subject.
  bool (*concerns)(SubjectKind) = nullptr;
  /// Used if no value is given, where that follows from the case's subject.
  std::string_view (*default_of)(const Case&) = nullptr;
  /// The value in a case; empty if this case has none (`tokens` when they are not dealt evenly).
  std::string (*read)(const Case&) = nullptr;
  /// Puts a valid value into a case whose ranks and ep are set. Throws UsageError for an unknown word.
  void (*write)(Case&, std::string_view) = nullptr;
};

/// In the order of help, of Case::settings() and of sweeps: the last one varies fastest.
std::span<const Flag> flags();
std::vector<std::string> flag_names();
/// Throws UsageError naming the nearest flag.
const Flag& find_flag(std::string_view name);

/// The settings of one source (a preset, a suite, the environment, the command line): flag → value or axis, as typed.
using Settings = std::map<std::string, std::string, std::less<>>;

/// Adds one setting. Throws UsageError for an unknown flag, a malformed value, or a flag whose
/// alternative (`replaces`) is already set.
void set(Settings& settings, std::string_view flag, std::string_view text);

}  // namespace moebench
