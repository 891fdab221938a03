// SPDX-License-Identifier: Apache-2.0
// Where the rows of ranks that are not here go.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moe/shape.h"

namespace moebench {

class Workload;

/// The K experts of a token for routing `random`: K of E without replacement, even, a pure function of seed and token.
void draw_experts(std::uint64_t seed, std::int64_t token, std::int64_t experts,
                  std::span<std::int64_t> chosen);

/// The experts of every token of a job: those of step `step` of `planted`, or drawn where that is null.
class DrawnChoice {
 public:
  DrawnChoice(const Shape& shape, std::uint64_t seed, const Workload* planted, int step)
      : shape_(shape), seed_(seed), planted_(planted), step_(step) {}

  /// [K] of one token among all; valid until the next call.
  std::span<const std::int64_t> of(std::int64_t token);

 private:
  Shape shape_;
  std::uint64_t seed_;
  const Workload* planted_;
  int step_;
  std::vector<std::int64_t> chosen_;
};

/// [EP · e]: the rows that each rank of the expert-parallel group of `rank` sends to each of the e experts of `rank`.
std::vector<std::int64_t> rows_received(const Shape& shape, int rank, DrawnChoice choice);

}  // namespace moebench
