// SPDX-License-Identifier: Apache-2.0
// How the bias of a gate moves from one step of training to the next: b_e += U · sign(mean of c − c_e), c_e the choices of expert e
// by the tokens of all ranks, before slots are dropped; sign(0) = 0. An expert with more than its share is ranked lower.
// Sources: Wang et al. (arXiv 2408.15664), algorithm 1; DeepSeek-V3 (arXiv 2412.19437), section 2.1.2, U = 1e-3; Megatron-LM,
// get_updated_expert_bias.
#pragma once

#include <cstdint>
#include <span>

namespace moebench {

inline void move_bias(std::span<float> bias, std::span<const std::int64_t> choices, double rate) {
  std::int64_t sum = 0;
  for (const std::int64_t count : choices) sum += count;
  const auto experts = static_cast<std::int64_t>(choices.size());
  for (std::size_t e = 0; e < bias.size(); ++e) {
    const std::int64_t lead = choices[e] * experts - sum;
    bias[e] += static_cast<float>(lead > 0 ? -rate : lead < 0 ? rate : 0);
  }
}

}  // namespace moebench
