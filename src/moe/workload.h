// SPDX-License-Identifier: Apache-2.0
// Seeded inputs and weights, and the routing planted in them.
//
// Everything is a pure function of (workload, seed, step) and the global token or expert number, so the
// same logical routing, outputs and gradients come out at any number of ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/random.h"
#include "moe/parameter.h"
#include "moe/routing_distribution.h"
#include "moe/shape.h"

namespace moebench {

/// Makes the numbers of one case. Cheap to copy for `random`; other routings hold an [E, H] matrix.
class Workload {
 public:
  /// Throws UsageError if the routing cannot be planted: it needs experts <= hidden.
  Workload(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed);

  const Shape& shape() const { return shape_; }
  std::uint64_t seed() const { return seed_; }

  /// x [tokens, H] of `step`, for global tokens [first, first + tokens): of about unit variance before
  /// planting, which lengthens it.
  void input(int step, std::int64_t first, std::int64_t tokens, std::span<float> x) const;
  /// dy [tokens, H]: the gradient of the loss <dy, y> that backward starts from.
  void output_gradient(int step, std::int64_t first, std::int64_t tokens, std::span<float> dy) const;
  /// Weights, indexed as in the global tensor (moe/parameter.h). Scaled to keep activations near unit size.
  UniformField field(Parameter parameter) const;

  /// The experts planted for a token, best first; empty for routing `random`.
  std::vector<std::int64_t> planted(int step, std::int64_t token) const;

 private:
  Shape shape_;
  std::uint64_t seed_;
  std::shared_ptr<const RoutingDraw> draw_;  ///< null if random
  std::vector<float> planting_;  ///< [E, H]: row e raises logit e by 1 and leaves the others; empty if random
};

}  // namespace moebench
