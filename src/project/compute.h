// SPDX-License-Identifier: Apache-2.0
// What one GPU took to compute its part of a layer, read between measured points and never beyond them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moebench {

/// One measured case on one rank: its times by what they grow with, microseconds.
struct ComputePoint {
  std::int64_t experts = 0;  ///< on the rank
  std::int64_t tokens = 0, top_k = 0, rows = 0;
  std::int64_t all_experts = 0;  ///< that its gate scored; 0: those on the rank
  int ranks = 1,
      as_rank = -1;  ///< of a rank that was run alone (`moebench run --as-rank`), the job's and its own
  double experts_forward = 0, experts_backward = 0;  ///< the experts' stage: grows with rows
  double other_forward = 0, other_backward = 0;      ///< gate, plan, pack, combine: grow with tokens
  bool backward = false;                             ///< whether the backward pass was measured
};

/// The times of one rank of the projected job, microseconds.
struct ComputeTime {
  double experts_forward = 0, experts_backward = 0, other_forward = 0, other_backward = 0;
  bool interpolated = false;
  int as_rank = -1;               ///< the rank that was run alone; −1: read at row counts
  std::int64_t gate_experts = 0;  ///< of the case that gate, plan, pack and combine are from

  double forward() const { return experts_forward + other_forward; }
  double backward() const { return experts_backward + other_backward; }
};

/// What one GPU of the job computes.
struct ComputeNeed {
  std::int64_t experts = 0, rows = 0;  ///< of its own, and the rows that they get
  std::int64_t tokens = 0, top_k = 0;  ///< of its own tokens
  std::int64_t all_experts = 0;        ///< that the gate scores
  int ranks = 1;                       ///< of the job
};

class ComputeTable {
 public:
  ComputeTable() = default;
  /// `origin` names the report in errors. Of several points of the same experts, tokens and top-k the fastest counts.
  ComputeTable(std::vector<ComputePoint> points, std::string origin);

  bool empty() const { return points_.empty(); }
  bool has_backward() const;
  /// Why it was not measured; empty if it was, or lies between two points that were. The experts' stage is read at
  /// `rows` of the cases with as many experts, whatever their top-k; the rest at `tokens` of the cases with the same
  /// top-k: those with `all_experts` if there are any, else those with the most.
  std::string why_not(const ComputeNeed& need) const;
  /// What rank `rank` of the job took alone; nothing if it was not run.
  std::optional<ComputeTime> of_rank(int rank, const ComputeNeed& need) const;
  /// why_not() must be empty.
  ComputeTime at(const ComputeNeed& need) const;

 private:
  std::vector<ComputePoint> for_experts(const ComputeNeed& need) const;
  std::vector<ComputePoint> for_the_rest(const ComputeNeed& need) const;
  std::vector<ComputePoint> points_;
  std::string origin_;
};

}  // namespace moebench
