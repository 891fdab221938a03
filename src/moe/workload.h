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

/// How a workload's routing comes about, apart from what it is.
struct WorkloadOptions {
  /// The gate computes the routing from the inputs; else inputs are plain noise, and the routing is replayed.
  bool planted = true;
  int steps = 0;  ///< routing steps that input steps rotate through; 0: every input step is one
  std::shared_ptr<const RoutingDraw> draw = nullptr;  ///< instead of what the routing's kind draws
};

/// Makes the numbers of one case. Cheap to copy for `random`; other routings hold an [E, H] matrix.
class Workload {
 public:
  /// Throws UsageError if the routing shall be planted and cannot be: that needs experts <= hidden.
  Workload(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed,
           WorkloadOptions options = {});

  const Shape& shape() const { return shape_; }
  std::uint64_t seed() const { return seed_; }

  /// x [tokens, H] of `step`, for global tokens [first, first + tokens): of about unit variance before
  /// planting, which lengthens it.
  void input(int step, std::int64_t first, std::int64_t tokens, std::span<float> x) const;
  /// dy [tokens, H]: the gradient of the loss <dy, y> that backward starts from.
  void output_gradient(int step, std::int64_t first, std::int64_t tokens, std::span<float> dy) const;
  /// Weights, indexed as in the global tensor (moe/parameter.h). Scaled to keep activations near unit size.
  UniformField field(Parameter parameter) const;

  /// The shared experts of its layer, at least one, as the only expert of a layer (shared_shape()): inputs are the same,
  /// Parameter::w1 is shared_w1, and so on.
  Workload shared() const;

  /// Where experts lie in each routing step, if that is planned; null otherwise.
  const StepPlans* plans() const { return draw_ ? draw_->plans() : nullptr; }
  /// The experts that a token shall have in input step `step`; empty for routing `random`.
  std::vector<std::int64_t> target_experts(int step, std::int64_t token) const;

 private:
  Shape shape_;
  std::int64_t choices_;       ///< experts that draw_ gives a token
  bool is_of_shared_ = false;  ///< what shared() returned
  std::uint64_t seed_;
  int steps_;
  std::shared_ptr<const RoutingDraw> draw_;  ///< null if random
  std::vector<float> planting_;  ///< [E, H]: row e raises logit e by 1 and leaves the others; empty if random
};

}  // namespace moebench
