// SPDX-License-Identifier: Apache-2.0
#include "project/traffic.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "moe/random_experts.h"

namespace moebench {
namespace {

constexpr Words<Dedup, 3> kDedups{{{{Dedup::none, "none"}, {Dedup::rank, "rank"}, {Dedup::node, "node"}}}};
constexpr std::int64_t kMaxChoices = std::int64_t{1} << 29;

/// Counts the rows of one token.
class Sender {
 public:
  Sender(const Shape& shape, int per_node, Dedup dedup, Traffic& traffic)
      : shape_(shape),
        per_node_(per_node),
        dedup_(dedup),
        row_bytes_(static_cast<double>(shape.hidden) * static_cast<double>(size_of(shape.dtype))),
        traffic_(traffic) {}

  void send(int source, std::span<const std::int64_t> experts) {
    owners_.clear();
    const int group = source / shape_.ep * shape_.ep;
    for (const std::int64_t expert : experts) {
      const int owner = group + static_cast<int>(expert / shape_.experts_per_rank());
      ++traffic_.ranks[static_cast<std::size_t>(owner)].rows;
      owners_.push_back(owner);
    }
    std::sort(owners_.begin(), owners_.end());
    const auto end = std::unique(owners_.begin(), owners_.end());
    const auto distinct = static_cast<std::size_t>(end - owners_.begin());
    traffic_.ranks_per_token += static_cast<double>(distinct);
    if (dedup_ == Dedup::none)
      for (const std::int64_t expert : experts)
        move(source, group + static_cast<int>(expert / shape_.experts_per_rank()));
    owners_.resize(distinct);
    int before = -1;
    for (const int owner : owners_) {
      const int node = owner / per_node_;
      if (node != before) {
        traffic_.nodes_per_token += 1;
        if (dedup_ == Dedup::node) move(source, relay(source, node));
      }
      before = node;
      if (dedup_ == Dedup::rank) move(source, owner);
      if (dedup_ == Dedup::node) move(relay(source, node), owner);
    }
  }

 private:
  /// The GPU of `node` that passes rows on: the one with the sender's place; of its own node the sender.
  int relay(int source, int node) const { return node * per_node_ + source % per_node_; }

  void move(int from, int to) {
    if (from == to) return;
    RankTraffic& sender = traffic_.ranks[static_cast<std::size_t>(from)];
    RankTraffic& receiver = traffic_.ranks[static_cast<std::size_t>(to)];
    const bool inside = from / per_node_ == to / per_node_;
    (inside ? sender.node_out : sender.net_out) += row_bytes_;
    (inside ? receiver.node_in : receiver.net_in) += row_bytes_;
  }

  const Shape& shape_;
  int per_node_;
  Dedup dedup_;
  double row_bytes_;
  Traffic& traffic_;
  std::vector<int> owners_;
};

}  // namespace

std::string_view name_of(Dedup dedup) { return kDedups.name(dedup); }
Dedup parse_dedup(std::string_view word) { return kDedups.parse("deduplication", word); }

std::int64_t Traffic::median_rows() const {
  std::vector<std::int64_t> rows;
  for (const RankTraffic& rank : ranks) rows.push_back(rank.rows);
  const auto middle = rows.begin() + static_cast<std::ptrdiff_t>(rows.size() / 2);
  std::nth_element(rows.begin(), middle, rows.end());
  return *middle;
}

Traffic draw_traffic(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed, int per_node,
                     Dedup dedup) {
  if (shape.tokens > kMaxChoices / shape.top_k)
    throw UsageError(cat("a job of ", shape.tokens, " tokens with top-k ", shape.top_k, " on ", shape.ranks,
                         " GPUs has more choices than the ", kMaxChoices,
                         " that are drawn; give fewer --tokens or --nodes"));
  std::optional<Workload> planted;
  if (!routing.is_random()) planted.emplace(shape, routing, seed);
  DrawnChoice choice(shape, seed, planted ? &*planted : nullptr, 0);
  Traffic traffic;
  traffic.ranks.resize(static_cast<std::size_t>(shape.ranks));
  Sender sender(shape, per_node, dedup, traffic);
  for (int rank = 0; rank < shape.ranks; ++rank)
    for (std::int64_t token = shape.first_token(rank); token < shape.first_token(rank + 1); ++token)
      sender.send(rank, choice.of(token));
  traffic.ranks_per_token /= static_cast<double>(shape.tokens);
  traffic.nodes_per_token /= static_cast<double>(shape.tokens);
  return traffic;
}

}  // namespace moebench
