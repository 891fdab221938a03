// SPDX-License-Identifier: Apache-2.0
// Which experts a gate chooses by the logits of one token, in double precision, and how far off another choice is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layer/gates/gate.h"

namespace moebench {

/// [K] of logits [E]: best first, the lower group and expert on a tie. Of a gate of all experts [E], in their order.
/// offsets [E]: GateDefinition::offsets() of the token's group; empty: none.
std::vector<std::int32_t> choose(const GateDefinition& gate, std::span<const double> logits,
                                 std::int64_t top_k, std::span<const double> offsets = {});

/// By how much the best expert left out beats the worst one chosen, or the best group left out the worst one kept, relative
/// to the largest of what is ranked, or of what it is a sum of; 0 for the right choice. `chosen`: K different experts. Of
/// the groups that a choice has no expert of, the best count as kept.
double misrouting(const GateDefinition& gate, std::span<const double> logits,
                  std::span<const std::int32_t> chosen, std::span<const double> offsets = {});

}  // namespace moebench
