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

namespace moebench {

/// Where the slots of all tokens go, [T, K]: the definition, in plain loops. `expert_of`: where they would go, −1: nowhere.
std::vector<std::int32_t> limited(const Capacity& capacity, const Shape& shape,
                                  std::span<const std::int32_t> expert_of, std::span<const float> score);

/// `gate`, and the backend's stage `limit` behind its forward pass, over this rank's `tokens`. Groups divide them.
std::unique_ptr<Gate> limit_gate(const GateArgs& args, const Capacity& capacity, std::int64_t tokens,
                                 std::unique_ptr<Gate> gate);

}  // namespace moebench
