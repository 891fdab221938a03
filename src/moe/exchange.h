// SPDX-License-Identifier: Apache-2.0
// How rows travel between the ranks of an expert-parallel group: the axis `--exchange`.
#pragma once

#include <string_view>

namespace moebench {

/// fused: one all-to-all-v of all rows. per_expert: one all-to-all-v per local expert, as in the FastMoE paper's code.
/// direct: stores into memory that the ranks of one host share, each row once per rank.
enum class Exchange { fused, per_expert, direct };

/// What `--exchange direct` does while rows travel. none: nothing. wgrad: backward, the weights' gradients. peer: the
/// experts of a rank's own rows, and backward also the weights' gradients. tile: each tile of the experts' last product
/// is stored at the ranks of its tokens while the next tile is computed.
enum class Overlap { none, wgrad, peer, tile };

std::string_view name_of(Exchange exchange);  // "fused", "per-expert", "direct"
std::string_view name_of(Overlap overlap);    // "none", "wgrad", "peer", "tile"
/// Throw UsageError that names the valid words.
Exchange parse_exchange(std::string_view word);
Overlap parse_overlap(std::string_view word);

}  // namespace moebench
