// SPDX-License-Identifier: Apache-2.0
// Seeded inputs and weights, and the routing skew planted in them.
//
// Everything is a pure function of (workload, seed, step) and the global token or expert number, so the
// same logical routing, outputs and gradients come out at any number of ranks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "moe/parameter.h"
#include "moe/shape.h"

namespace moebench {

/// How tokens choose experts.
///   random      the gate's own choice on random tokens: about even
///   balanced    token t takes experts tK, tK+1, … mod E: exactly even
///   zipf:S      expert i drawn with weight 1/(i+1)^S, without replacement
///   hot:F       a fraction F of the tokens has expert 0 among its choices, the rest is even
///   one         every token takes experts 0 … K-1
struct Skew {
  enum class Kind { random, balanced, zipf, hot, one };
  Kind kind = Kind::random;
  double parameter = 0;

  bool operator==(const Skew&) const = default;
};

/// "zipf:1.2" and so on. Throws UsageError naming the valid forms.
Skew parse_skew(std::string_view word);
std::string name_of(const Skew& skew);
/// Why the skew cannot be planted in a layer of this shape; empty if it can.
std::string why_not_planted(const Shape& shape, const Skew& skew);

/// Makes the numbers of one case. Cheap to copy for `random`; other skews hold an [E, H] matrix.
class Workload {
 public:
  /// Throws UsageError if the skew cannot be planted: it needs experts <= hidden.
  Workload(const Shape& shape, Skew skew, std::uint64_t seed);

  const Shape& shape() const { return shape_; }
  std::uint64_t seed() const { return seed_; }

  /// x [tokens, H] of `step`, for global tokens [first, first + tokens): of about unit variance before
  /// planting, which lengthens it.
  void input(int step, std::int64_t first, std::int64_t tokens, std::span<float> x) const;
  /// dy [tokens, H]: the gradient of the loss <dy, y> that backward starts from.
  void output_gradient(int step, std::int64_t first, std::int64_t tokens, std::span<float> dy) const;
  /// Weights, indexed as in the global tensor (moe/parameter.h). Scaled to keep activations near unit size.
  UniformField field(Parameter parameter) const;

  /// The experts planted for a token, best first; empty for Skew::Kind::random.
  std::vector<std::int64_t> planted(int step, std::int64_t token) const;

 private:
  Shape shape_;
  Skew skew_;
  std::uint64_t seed_;
  std::vector<float> planting_;  ///< [E, H]: row e raises logit e by 1 and leaves the others; empty if random
  std::vector<double> cumulative_;  ///< [E] of the skew's weights, for zipf
};

}  // namespace moebench
