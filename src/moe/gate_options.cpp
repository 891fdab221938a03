// SPDX-License-Identifier: Apache-2.0
#include "moe/gate_options.h"

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr Words<GroupScore, 2> kScores{{{
    {GroupScore::megatron, "megatron"},
    {GroupScore::deepseek, "deepseek"},
}}};

}  // namespace

std::string_view name_of(GroupScore score) { return kScores.name(score); }

std::int64_t ExpertGroups::counted(std::int64_t top_k, bool biased) const {
  if (score == GroupScore::megatron) return top_k / kept;
  return biased ? 2 : 1;
}

std::string groups_text(const ExpertGroups& groups) {
  if (!groups.limit()) return "none";
  const std::string text = cat(groups.count, ":", groups.kept);
  return groups.score == GroupScore::megatron ? text : cat(text, ":", name_of(groups.score));
}

ExpertGroups parse_groups(std::string_view word) {
  if (word == "none") return {};
  const auto parts = split(word, ':');
  const auto number = [&](std::size_t i) { return i < parts.size() ? to_int(parts[i]).value_or(0) : 0; };
  ExpertGroups groups{.count = number(0), .kept = number(1)};
  if (parts.size() > 3 || groups.count < 2 || groups.kept < 1)
    throw UsageError(
        cat("groups '", word, "' must be 'none' or G:KEEP[:megatron|deepseek] with G of at least 2"));
  if (parts.size() == 3) groups.score = kScores.parse("group score", parts[2]);
  return groups;
}

std::string aux_text(const LossOptions& losses) {
  if (losses.aux == 0) return "none";
  return losses.sequence > 0 ? cat(losses.aux, ":sequence:", losses.sequence) : cat(losses.aux);
}

void parse_aux(std::string_view word, LossOptions& losses) {
  losses.aux = 0, losses.sequence = 0;
  if (word == "none") return;
  const auto parts = split(word, ':');
  const double factor = to_double(parts[0]).value_or(0);
  const bool by_sequence = parts.size() == 3 && parts[1] == "sequence";
  const std::int64_t sequence = by_sequence ? to_int(parts[2]).value_or(0) : 0;
  const bool by_batch = parts.size() == 1 || (parts.size() == 2 && parts[1] == "batch");
  if (!(factor > 0) || !std::isfinite(factor) || !(by_batch || sequence > 0))
    throw UsageError(cat("aux-loss '", word, "' must be 'none', A, A:batch or A:sequence:N with A above 0"));
  losses.aux = factor, losses.sequence = sequence;
}

std::string why_not(const LossOptions& losses, const Shape& shape) {
  if (losses.aux == 0) return {};
  if (losses.sequence > 0) return why_cut("aux-loss sequence", losses.sequence, shape);
  return why_cut("gate-group", losses.group_of(shape), shape);
}

std::string why_not(const ExpertGroups& groups, const Shape& shape, bool biased) {
  constexpr std::int64_t kMostGroups = 32;  // one lane of a warp each
  if (!groups.limit()) return {};
  const std::string given = cat("groups ", groups_text(groups));
  if (groups.count > kMostGroups) return cat(given, ": at most ", kMostGroups, " groups");
  if (shape.experts % groups.count != 0)
    return cat(given, ": ", groups.count, " does not divide the ", shape.experts, " experts");
  const std::int64_t size = shape.experts / groups.count, counted = groups.counted(shape.top_k, biased);
  if (groups.kept > groups.count) return cat(given, " keeps more groups than there are");
  if (groups.kept * size < shape.top_k)
    return cat(given, " keeps ", groups.kept * size, " experts, fewer than top_k ", shape.top_k);
  if (counted < 1) return cat(given, " keeps more groups than the ", shape.top_k, " choices of a token");
  if (counted > size) return cat(given, " scores a group by ", counted, " experts, and it has ", size);
  return {};
}

}  // namespace moebench
