// SPDX-License-Identifier: Apache-2.0
// How even a routing is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moe/shape.h"

namespace moebench {

/// min / median / max of rows over experts or ranks.
struct LoadStats {
  std::int64_t min = 0, max = 0;
  double median = 0, mean = 0;
  double imbalance = 0;    ///< max / mean - 1, which others call MaxVio: 0 is perfectly even
  std::int64_t empty = 0;  ///< how many have no row
  double cv = 0;           ///< standard deviation / mean
  double entropy = 0;      ///< of the rows' shares over that of even ones: 1 is perfectly even, 0 all on one
};

/// What became of the slots of some tokens.
struct Drops {
  std::int64_t slots = 0, dropped = 0;
  std::int64_t lost_tokens = 0;  ///< all of whose slots were dropped
  double weight = 0,
         kept_weight = 0;  ///< sums of the scores: of all slots, and of those that were not dropped
};

LoadStats load_stats(std::span<const std::int64_t> rows);
/// expert_of [T, slots], −1: no expert; score [T, slots]. Of tokens whose number of experts varies, what lacks of K for each is
/// dropped.
Drops count_drops(const Shape& shape, std::span<const std::int32_t> expert_of, std::span<const float> score);

/// What the gate chose for some tokens in one step.
struct TokenLoad {
  std::vector<std::int64_t> rows;  ///< [E] of each expert
  std::int64_t dropped = 0;        ///< of the K choices of each token, those without a row
  std::int64_t ranks = 0;          ///< summed over the tokens: ranks that a token goes to, its own included
};

/// `expert_of` [tokens, slots], −1: no expert.
TokenLoad token_load(const Shape& shape, std::span<const std::int32_t> expert_of);

}  // namespace moebench
