// SPDX-License-Identifier: Apache-2.0
// The routing of a whole job, drawn token by token, and the bytes that it sends over each tier of links.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "moe/shape.h"
#include "moe/workload.h"

namespace moebench {

/// How often a token's row travels. none: once per expert. rank: once per GPU. node: once per node, where the GPU with the
/// sender's place in its node passes it on.
enum class Dedup { none, rank, node };
std::string_view name_of(Dedup dedup);
/// Throws UsageError naming the valid words.
Dedup parse_dedup(std::string_view word);

/// What one GPU computes, and sends and receives in one exchange.
struct RankTraffic {
  std::int64_t rows = 0;                                      ///< that its experts compute
  double net_out = 0, net_in = 0, node_out = 0, node_in = 0;  ///< bytes between nodes, and inside its node

  double net() const { return net_out > net_in ? net_out : net_in; }
  double node() const { return node_out > node_in ? node_out : node_in; }
};

struct Traffic {
  std::vector<RankTraffic> ranks;
  double ranks_per_token = 0, nodes_per_token = 0;  ///< distinct ones, the sender's included where it is one
  std::int64_t median_rows() const;
};

/// Of one step of `shape` (ranks, ep and tokens of the whole job), rank r on node r / per_node. Throws UsageError if the
/// routing cannot be planted or the job has more choices than can be drawn here.
Traffic draw_traffic(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed, int per_node,
                     Dedup dedup);

}  // namespace moebench
