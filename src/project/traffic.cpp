// SPDX-License-Identifier: Apache-2.0
#include "project/traffic.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr Words<Dedup, 3> kDedups{{{{Dedup::none, "none"}, {Dedup::rank, "rank"}, {Dedup::node, "node"}}}};
constexpr std::int64_t kMaxChoices = std::int64_t{1} << 29;
constexpr std::uint64_t kRoutingField =
    0x70726F6A656374ull;  // a field of random numbers that nothing else uses

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

void draw_experts(std::uint64_t seed, std::int64_t token, std::int64_t experts,
                  std::span<std::int64_t> chosen) {
  const std::uint64_t key = mix(mix(seed, kRoutingField), static_cast<std::uint64_t>(token));
  std::uint64_t draw = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    do
      // The high bits of a 64-bit product: even to 2^-32 for any number of experts that there is.
      chosen[i] =
          static_cast<std::int64_t>(((mix(key, draw++) >> 32) * static_cast<std::uint64_t>(experts)) >> 32);
    while (std::find(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(i), chosen[i]) !=
           chosen.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

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
  const bool random = routing.is_random();
  std::optional<Workload> workload;
  if (!random) workload.emplace(shape, routing, seed);
  Traffic traffic;
  traffic.ranks.resize(static_cast<std::size_t>(shape.ranks));
  Sender sender(shape, per_node, dedup, traffic);
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(shape.top_k));
  for (int rank = 0; rank < shape.ranks; ++rank)
    for (std::int64_t token = shape.first_token(rank); token < shape.first_token(rank + 1); ++token) {
      if (random)
        draw_experts(seed, token, shape.experts, chosen);
      else
        chosen = workload->target_experts(0, token);
      sender.send(rank, chosen);
    }
  traffic.ranks_per_token /= static_cast<double>(shape.tokens);
  traffic.nodes_per_token /= static_cast<double>(shape.tokens);
  return traffic;
}

}  // namespace moebench
