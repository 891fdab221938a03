// SPDX-License-Identifier: Apache-2.0
// What one GPU took to compute its part of a layer, read between measured points and never beyond them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moebench {

/// One measured case on one rank: its times by what they grow with, microseconds.
struct ComputePoint {
  std::int64_t experts = 0;  ///< on the rank
  std::int64_t tokens = 0, rows = 0;
  double experts_forward = 0, experts_backward = 0;  ///< the experts' stage: grows with rows
  double other_forward = 0, other_backward = 0;      ///< gate, plan, pack, combine: grow with tokens
  bool backward = false;                             ///< whether the backward pass was measured
};

/// The times of one rank of the projected job, microseconds.
struct ComputeTime {
  double experts_forward = 0, experts_backward = 0, other_forward = 0, other_backward = 0;
  bool interpolated = false;

  double forward() const { return experts_forward + other_forward; }
  double backward() const { return experts_backward + other_backward; }
};

class ComputeTable {
 public:
  ComputeTable() = default;
  /// `origin` names the report in errors. Of several points of the same experts and tokens the fastest counts.
  ComputeTable(std::vector<ComputePoint> points, std::string origin);

  bool empty() const { return points_.empty(); }
  bool has_backward() const;
  /// Why rows or tokens at so many experts per GPU were not measured; empty if they were, or lie between two that were.
  std::string why_not(std::int64_t experts, std::int64_t tokens, std::int64_t rows) const;
  /// why_not() must be empty.
  ComputeTime at(std::int64_t experts, std::int64_t tokens, std::int64_t rows) const;

 private:
  std::vector<ComputePoint> of(std::int64_t experts) const;
  std::vector<ComputePoint> points_;
  std::string origin_;
};

}  // namespace moebench
