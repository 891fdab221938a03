// SPDX-License-Identifier: Apache-2.0
// A gate whose experts take so many rows of each group of tokens (moe/capacity.h): the slots beyond are dropped. The
// scores of a token's other slots stay as they are, they are not divided by their sum again.
// Sources: Megatron-LM's router (apply_router_token_dropping); GShard (arXiv 2006.16668), algorithm 1; Switch
// Transformers (arXiv 2101.03961), section 2.2; V-MoE (arXiv 2106.05974), section 3.4 and algorithm 2.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "layer/gates/gate.h"
#include "moe/capacity.h"

namespace moebench {

/// Which slots are dropped behind a gate.
struct DropRule {
  Capacity capacity;
  bool second_by_chance =
      false;  ///< of GShard: a second choice goes nowhere if 2 · its score <= chance_of() its token
  std::uint64_t seed = 1;  ///< of the chance, with the step

  bool drops() const { return capacity.limits() || second_by_chance; }
  /// What dropping moves besides the gate: it reads the choice of so many slots and writes where they go, and may read scores.
  double bytes(std::int64_t slots) const;
};

DropRule drop_rule_of(const GateEntry& entry, const GateOptions& options);

/// Where the slots of all tokens of a step go, [T, K]: the definition, in plain loops. `expert_of`: where they would go, −1:
/// nowhere.
std::vector<std::int32_t> limited(const DropRule& rule, const Shape& shape, int step,
                                  std::span<const std::int32_t> expert_of, std::span<const float> score);

/// `gate`, and the backend's step `limit` behind its forward pass. Groups divide this rank's tokens.
std::unique_ptr<Gate> limit_gate(const GateArgs& args, const DropRule& rule, std::unique_ptr<Gate> gate);

}  // namespace moebench
