// SPDX-License-Identifier: Apache-2.0
#include "suite/resolve.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

void scale_value(Settings& values, std::string_view flag, double scale, std::int64_t multiple) {
  const auto found = values.find(flag);
  if (found == values.end()) return;
  const std::int64_t full = to_int(found->second).value();
  const double scaled = static_cast<double>(full) * scale / static_cast<double>(multiple);
  const auto rounded = static_cast<std::int64_t>(std::round(scaled)) * multiple;
  found->second = cat(std::min(full, std::max(rounded, multiple)));
}

void check_words(const Case& point, const Available& machine) {
  for (const auto& [flag, words] : machine.words) {
    const std::string word = find_flag(flag).read(point);
    if (std::find(words.begin(), words.end(), word) == words.end()) throw_unknown(flag, word, words);
  }
}

}  // namespace

void scale_values(Settings& values, double scale) {
  if (scale == 1.0) return;
  scale_value(values, "hidden", scale, 16);
  scale_value(values, "ffn", scale, 16);
  scale_value(values, "tokens", scale, 1);
  scale_value(values, "total-tokens", scale, 1);
}

Case resolve(const Settings& values, const Available& machine) {
  Case point;
  const auto write = [&](std::string_view flag) {
    const auto found = values.find(flag);
    if (found != values.end()) find_flag(flag).write(point, found->second);
    return found != values.end();
  };
  write("subject");
  if (!write("ranks")) point.shape.ranks = machine.ranks;
  // A subject without experts has none to share between ranks.
  if (!write("ep")) point.shape.ep = point.subject == SubjectKind::layer ? point.shape.ranks : 1;
  for (const Flag& flag : flags())  // these follow from the three above
    if (flag.name != "subject" && flag.name != "ranks" && flag.name != "ep") write(flag.name);
  if (point.backend == "auto") point.backend = machine.backend;
  if (point.comm == "auto") point.comm = machine.comm;
  if (point.engine == "auto") point.engine = machine.engine ? machine.engine(point.shape) : Case{}.engine;
  check_words(point, machine);
  return point;
}

void check_possible(const Case& point) {
  validate(point.shape);
  if (point.skew.kind != Skew::Kind::random && point.shape.experts > point.shape.hidden)
    throw UsageError(cat("routing '", name_of(point.skew), "' needs experts <= hidden, but experts is ",
                         point.shape.experts, " and hidden is ", point.shape.hidden));
}

}  // namespace moebench
