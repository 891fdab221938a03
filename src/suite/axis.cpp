// SPDX-License-Identifier: Apache-2.0
#include "suite/axis.h"

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

[[noreturn]] void refuse(const Flag& flag, std::string_view part, std::string_view why) {
  throw UsageError(cat("--", flag.name, " '", part, "': ", why));
}

std::int64_t number_in(const Flag& flag, std::string_view part, std::string_view text) {
  const auto value = to_int(text);
  if (!value)
    refuse(flag, part, cat("'", text, "' is not a whole number; valid: N, FROM:TO:STEP or FROM:TO:*FACTOR"));
  if (*value < flag.min) refuse(flag, part, cat(*value, " is less than ", flag.min));
  if (*value > flag.max) refuse(flag, part, cat(*value, " is more than ", flag.max));
  return *value;
}

void add(const Flag& flag, std::string_view part, std::string value, std::vector<std::string>& values) {
  if (values.size() == kMaxAxisValues) refuse(flag, part, cat("more than ", kMaxAxisValues, " values"));
  values.push_back(std::move(value));
}

struct Range {
  std::int64_t from = 0, to = 0, stride = 0;
  bool factor = false;
};

Range parse_range(const Flag& flag, std::string_view part) {
  const auto pieces = split(part, ':');
  if (pieces.size() != 3) refuse(flag, part, "a range is FROM:TO:STEP or FROM:TO:*FACTOR");
  Range range{.from = number_in(flag, part, pieces[0]), .to = number_in(flag, part, pieces[1])};
  std::string_view stride = pieces[2];
  range.factor = stride.starts_with('*');
  if (range.factor) stride.remove_prefix(1);
  const auto value = to_int(stride);
  if (range.from > range.to) refuse(flag, part, cat("starts at ", range.from, ", after its end ", range.to));
  if (range.factor && (!value || *value < 2))
    refuse(flag, part, cat("the factor '", stride, "' is not a whole number of at least 2"));
  if (range.factor && range.from == 0) refuse(flag, part, "a factor cannot lead away from 0");
  if (!range.factor && (!value || *value < 1))
    refuse(flag, part, cat("the step '", stride, "' is not a whole number of at least 1"));
  range.stride = *value;
  return range;
}

void add_range(const Flag& flag, std::string_view part, std::vector<std::string>& values) {
  const Range range = parse_range(flag, part);
  for (std::int64_t value = range.from; value <= range.to;) {
    add(flag, part, cat(value), values);
    const bool overflow = range.factor ? __builtin_mul_overflow(value, range.stride, &value)
                                       : __builtin_add_overflow(value, range.stride, &value);
    if (overflow) return;
  }
}

/// In the spelling that a case gives back, so that "zipf:1.20" and "zipf:1.2" are one value; as it is where a case of
/// one rank has none.
std::string spelled(const Flag& flag, std::string_view word) {
  Case scratch;
  flag.write(scratch, word);
  const std::string value = flag.read(scratch);
  return value.empty() ? std::string(word) : value;
}

}  // namespace

std::vector<std::string> expand_axis(const Flag& flag, std::string_view text) {
  std::vector<std::string> values;
  for (const std::string& untrimmed : split(text, ',')) {
    const std::string_view part = trimmed(untrimmed);
    if (part.empty()) refuse(flag, text, text.empty() ? "no value" : "an empty part between commas");
    if (!flag.number)
      add(flag, part, spelled(flag, part), values);
    else if (part.find(':') != std::string_view::npos)
      add_range(flag, part, values);
    else
      add(flag, part, cat(number_in(flag, part, part)), values);
  }
  return values;
}

}  // namespace moebench
