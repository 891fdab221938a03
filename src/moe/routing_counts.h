// SPDX-License-Identifier: Apache-2.0
// Routings of which only the rows of each expert are known.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moe/routing_draw.h"

namespace moebench {

/// [E] that add up to tokens·K, each at most `tokens`, as near to the weights' proportions as whole numbers are: what
/// exceeds `tokens` goes to the other experts in proportion, the rest of rounding to the largest remainders. Experts of
/// weight 0 get rows only if the others cannot take all. Weights are finite and not negative.
std::vector<std::int64_t> counts_in_proportion(std::span<const double> weights, std::int64_t tokens,
                                               std::int64_t top_k);

/// Gives tokens exactly these counts. The experts, largest count first, lie one after the other on a line of K·T places,
/// and the token at place p of a random order has the experts at p, p + T, p + 2T, …: different ones, since none covers
/// more than T places (McNaughton, Management Science 6(1), 1959).
class CountsDraw final : public RoutingDraw {
 public:
  /// `counts` [E] as counts_in_proportion() makes them.
  CountsDraw(std::span<const std::int64_t> counts, std::int64_t tokens, std::uint64_t seed);
  void choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const override;

 private:
  std::vector<std::int64_t> experts_;  ///< by count, largest first
  std::vector<std::int64_t> end_;      ///< where each ends on the line
  std::int64_t tokens_;
  std::uint64_t seed_;
};

}  // namespace moebench
