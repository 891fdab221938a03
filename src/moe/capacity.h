// SPDX-License-Identifier: Apache-2.0
// How many rows an expert takes from a group of tokens, and which: `--capacity`, `--drop-policy`, `--gate-group`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "moe/shape.h"

namespace moebench {

/// Which slots an expert keeps if a group sends it more than it takes; equals by the lower token.
/// position: those of the lowest tokens (Megatron-LM, policy `position`). probs: those with the largest scores
/// (Megatron-LM, policy `probs`). choice: all first choices before any second, then the lowest tokens (GShard, Switch,
/// flaxformer). priority: first choices before second, and among them the tokens whose first choice has the largest score
/// (batch-prioritised routing: V-MoE, flaxformer).
enum class DropPolicy { position, probs, choice, priority };

std::string_view name_of(DropPolicy policy);
/// Throws UsageError that names the valid words.
DropPolicy parse_drop_policy(std::string_view word);

/// Plain data. A group is `group` consecutive tokens, counted over all ranks; none spans two ranks.
struct Capacity {
  double factor = 0;          ///< f: an expert takes ⌈group·K/E·f⌉ rows of a group; 0: all
  std::int64_t min_rows = 0;  ///< but no fewer than these
  DropPolicy policy = DropPolicy::position;
  std::int64_t group = 0;  ///< tokens; 0: those of one rank

  bool limits() const { return factor > 0; }
  /// Tokens of a group; 0 if `group` says nothing and ranks hold different numbers of tokens.
  std::int64_t group_of(const Shape& shape) const;
  /// C: the most rows that an expert takes from a group.
  std::int64_t rows_of(const Shape& shape) const;

  bool operator==(const Capacity&) const = default;
};

/// "none" or "1.25".
std::string capacity_text(const Capacity& capacity);
/// The factor: "none" is 0. Throws UsageError for what is no positive number.
double parse_capacity(std::string_view word);

/// Why the tokens of this shape cannot be cut into such groups; empty if they can.
std::string why_not(const Capacity& capacity, const Shape& shape);

/// Why groups of so many consecutive tokens, called `what`, are not whole on every rank; empty if they are. 0: those of a rank,
/// which hold different numbers.
std::string why_cut(std::string_view what, std::int64_t group, const Shape& shape);
/// 32-bit words that a backend may work in for a rank's `tokens`.
std::int64_t capacity_scratch(const Capacity& capacity, const Shape& shape, std::int64_t tokens);

}  // namespace moebench
