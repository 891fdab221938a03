// SPDX-License-Identifier: Apache-2.0
// What a gate is asked for besides its name and the layer's shape.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "moe/capacity.h"

namespace moebench {

/// How a group of experts is scored by what its experts are ranked by.
/// megatron: the sum of its K/KEEP largest (Megatron-LM). deepseek: of its 2 largest with a bias, its largest without
/// (DeepSeek-V3's code).
enum class GroupScore { megatron, deepseek };

std::string_view name_of(GroupScore score);

/// Experts in `count` groups of neighbours: a token chooses among those of the `kept` best groups.
struct ExpertGroups {
  std::int64_t count = 1, kept = 1;
  GroupScore score = GroupScore::megatron;

  bool limit() const { return count > 1; }
  /// How many experts of a group its score is the sum of.
  std::int64_t counted(std::int64_t top_k, bool biased) const;
  bool operator==(const ExpertGroups&) const = default;
};

/// "none", "8:4" or "8:4:deepseek".
std::string groups_text(const ExpertGroups& groups);
/// Throws UsageError for anything else.
ExpertGroups parse_groups(std::string_view word);

/// Losses of the gate, which are added to that of the outputs (layer/gates/loss.h). Plain data.
struct LossOptions {
  double aux = 0;               ///< α of the auxiliary loss; 0: none
  std::int64_t sequence = 0;    ///< tokens that it counts over; 0: a gate group
  double z = 0;                 ///< of the z-loss; 0: none
  std::int64_t gate_group = 0;  ///< as Capacity::group

  bool any() const { return aux > 0 || z > 0; }
  std::int64_t group_of(const Shape& shape) const {
    return sequence > 0 ? sequence : Capacity{.group = gate_group}.group_of(shape);
  }
  bool operator==(const LossOptions&) const = default;
};

/// "none", "0.01" or "0.01:sequence:4096".
std::string aux_text(const LossOptions& losses);
/// Puts it into `losses`. Throws UsageError for anything else.
void parse_aux(std::string_view word, LossOptions& losses);
/// Why the tokens cannot be counted so; empty if they can.
std::string why_not(const LossOptions& losses, const Shape& shape);

inline constexpr int kSinkhornIterations = 8;  ///< unless something else is asked for

struct GateOptions {
  Capacity capacity;
  LossOptions losses;
  ExpertGroups groups;
  double scale = 1;        ///< what scores are multiplied by
  double bias = 0;         ///< A: experts are ranked by score + b, b uniform in [-A, A) by seed and expert
  std::uint64_t seed = 1;  ///< of the case
  int sinkhorn_iterations = kSinkhornIterations;

  double bias_update =
      0;  ///< U: the bias moves by so much after each routing step (layer/gates/bias.h); 0: it stays

  bool biased() const { return bias > 0 || bias_update > 0; }
  /// b of expert e is element e, in the first step.
  UniformField bias_field() const {
    constexpr std::uint64_t kGateBias = 0x62696173;  // no Field of the workload
    return {mix(seed, kGateBias), static_cast<float>(bias)};
  }
  bool operator==(const GateOptions&) const = default;
};

/// Why experts cannot be grouped so; empty if they can.
std::string why_not(const ExpertGroups& groups, const Shape& shape, bool biased);

}  // namespace moebench
