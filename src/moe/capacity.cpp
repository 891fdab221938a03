// SPDX-License-Identifier: Apache-2.0
#include "moe/capacity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr Words<DropPolicy, 4> kPolicies{{{
    {DropPolicy::position, "position"},
    {DropPolicy::probs, "probs"},
    {DropPolicy::choice, "choice"},
    {DropPolicy::priority, "priority"},
}}};

}  // namespace

std::string_view name_of(DropPolicy policy) { return kPolicies.name(policy); }
DropPolicy parse_drop_policy(std::string_view word) { return kPolicies.parse("drop-policy", word); }

std::int64_t Capacity::group_of(const Shape& shape) const {
  if (group > 0) return group;
  return shape.tokens % shape.ranks == 0 ? shape.tokens / shape.ranks : 0;
}

/// In doubles, T·K first, as Megatron-LM computes it.
std::int64_t Capacity::rows_of(const Shape& shape) const {
  const std::int64_t tokens = group_of(shape);
  const double even = static_cast<double>(tokens * shape.top_k) / static_cast<double>(shape.experts);
  const double rows = std::min(std::ceil(even * factor), static_cast<double>(tokens));
  return std::min(std::max(static_cast<std::int64_t>(rows), min_rows), tokens);
}

std::string capacity_text(const Capacity& capacity) {
  return capacity.limits() ? cat(capacity.factor) : std::string("none");
}

double parse_capacity(std::string_view word) {
  if (word == "none") return 0;
  const auto factor = to_double(word);
  if (!factor || !(*factor > 0) || !std::isfinite(*factor))
    throw UsageError(cat("capacity '", word, "' must be 'none' or a number above 0"));
  return *factor;
}

std::string why_not(const Capacity& capacity, const Shape& shape) {
  return capacity.limits() ? why_cut("gate-group", capacity.group_of(shape), shape) : std::string();
}

std::string why_cut(std::string_view what, std::int64_t group, const Shape& shape) {
  if (shape.tokens == 0) return {};
  if (group == 0)
    return cat(what, " is the tokens of a rank, and ", shape.tokens, " tokens on ", shape.ranks,
               " ranks are not dealt evenly; give --gate-group");
  for (int rank = 0; rank < shape.ranks; ++rank)
    if (shape.tokens_of(rank) % group != 0 || shape.first_token(rank) % group != 0)
      return cat(what, " ", group, " does not divide the ", shape.tokens_of(rank), " tokens of rank ", rank,
                 ": a group would be cut; use a divisor of the tokens per rank");
  return {};
}

std::int64_t capacity_scratch(const Capacity& capacity, const Shape& shape, std::int64_t tokens) {
  if (!capacity.limits() || tokens == 0) return 0;
  return tokens * shape.slots_per_token() + tokens / capacity.group_of(shape) * shape.experts;
}

}  // namespace moebench
