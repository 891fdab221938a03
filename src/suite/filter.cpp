// SPDX-License-Identifier: Apache-2.0
#include "suite/filter.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "suite/axis.h"

namespace moebench {
namespace {

// Two characters before one, so that "<=" is not read as "<".
constexpr Words<Relation, 6> kRelations{{{
    {Relation::at_most, "<="},
    {Relation::at_least, ">="},
    {Relation::unequal, "!="},
    {Relation::equal, "="},
    {Relation::less, "<"},
    {Relation::more, ">"},
}}};

[[noreturn]] void refuse(std::string_view part, std::string_view why) {
  throw UsageError(cat("--filter '", part, "': ", why));
}

Relation relation_at(std::string_view part, std::size_t at, std::size_t& length) {
  for (const auto& [relation, word] : kRelations.entries) {
    length = word.size();
    if (part.substr(at, length) == word) return relation;
  }
  refuse(part, "a '!' must be followed by '='");
}

/// The one value after the operator, spelled as cases spell it.
std::string value_in(const Flag& flag, std::string_view part, std::string_view text) {
  if (text.find_first_of("=<>!") != std::string_view::npos)
    refuse(part, "one operator is wanted; valid: = != < <= > >=");
  const auto values = expand_axis(flag, text);
  if (values.size() != 1) refuse(part, "one value is wanted, not a range");
  return values.front();
}

Condition parse_condition(std::string_view part) {
  const std::size_t at = part.find_first_of("=<>!");
  if (at == std::string_view::npos) refuse(part, "no operator; valid: = != < <= > >=");
  std::size_t length = 0;
  const Relation relation = relation_at(part, at, length);
  const Flag& flag = find_flag(trimmed(part.substr(0, at)));
  if (!flag.number && relation != Relation::equal && relation != Relation::unequal)
    refuse(part, cat(flag.name, " is a word and has no order; valid: = !="));
  return {&flag, relation, value_in(flag, part, trimmed(part.substr(at + length)))};
}

bool holds(const Case& point, const Condition& condition) {
  const std::string have = condition.flag->read(point);
  if (have.empty()) return false;
  int order = have.compare(condition.value);
  if (condition.flag->number) {
    const auto a = to_int(have).value(), b = to_int(condition.value).value();
    order = a < b ? -1 : a > b;
  }
  switch (condition.relation) {
    case Relation::equal:
      return order == 0;
    case Relation::unequal:
      return order != 0;
    case Relation::less:
      return order < 0;
    case Relation::at_most:
      return order <= 0;
    case Relation::more:
      return order > 0;
    case Relation::at_least:
      return order >= 0;
  }
  return false;
}

}  // namespace

std::vector<Condition> parse_filter(std::string_view text) {
  std::vector<Condition> conditions;
  if (trimmed(text).empty()) return conditions;
  for (const std::string& part : split(text, ',')) conditions.push_back(parse_condition(trimmed(part)));
  return conditions;
}

bool matches(const Case& point, std::span<const Condition> conditions) {
  return std::all_of(conditions.begin(), conditions.end(),
                     [&](const Condition& condition) { return holds(point, condition); });
}

}  // namespace moebench
