// SPDX-License-Identifier: Apache-2.0
// --filter: which cases of a sweep are kept.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "suite/case.h"
#include "suite/flag.h"

namespace moebench {

enum class Relation { equal, unequal, less, at_most, more, at_least };

/// `flag relation value`, as in experts<=16 or engine=loop.
struct Condition {
  const Flag* flag;
  Relation relation;
  std::string value;
};

/// Conditions separated by commas, all of which must hold; none for empty text. Words know = and != only.
/// Throws UsageError naming the part that is malformed.
std::vector<Condition> parse_filter(std::string_view text);

/// Whether every condition holds. A flag that has no value in the case fails any condition on it.
bool matches(const Case& point, std::span<const Condition> conditions);

}  // namespace moebench
