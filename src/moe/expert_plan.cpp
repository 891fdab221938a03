// SPDX-License-Identifier: Apache-2.0
#include "moe/expert_plan.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

using Indices = std::vector<std::int64_t>;

/// Items into packs of equal count: [pack] the items in the order in which they came, the heaviest first, each to the lightest
/// pack with room.
std::vector<Indices> packed(std::span<const double> weights, std::int64_t packs) {
  const auto items = std::ssize(weights);
  const std::int64_t room = items / packs;
  Indices order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  if (room > 1)
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return weights[a] > weights[b]; });
  std::vector<Indices> contents(static_cast<std::size_t>(packs));
  std::vector<double> sums(static_cast<std::size_t>(packs));
  for (const std::int64_t item : order) {
    std::int64_t lightest = -1;
    for (std::int64_t pack = 0; pack < packs; ++pack)
      if (std::ssize(contents[pack]) < room && (lightest < 0 || (room > 1 && sums[pack] < sums[lightest])))
        lightest = pack;
    contents[lightest].push_back(item);
    sums[lightest] += weights[item];
  }
  return contents;
}

/// Each expert once, then `slots` − E more copies, each of the expert whose copies have the most rows.
struct Copies {
  Indices expert_of;  ///< [slots]
  Indices count;      ///< [E]
};

Copies copies_of(std::span<const double> load, std::int64_t slots) {
  Copies copies{Indices(load.size()), Indices(load.size(), 1)};
  std::iota(copies.expert_of.begin(), copies.expert_of.end(), 0);
  while (std::ssize(copies.expert_of) < slots) {
    std::size_t most = 0;
    const auto of_each = [&](std::size_t e) { return load[e] / static_cast<double>(copies.count[e]); };
    for (std::size_t e = 1; e < load.size(); ++e)
      if (of_each(e) > of_each(most)) most = e;
    copies.expert_of.push_back(static_cast<std::int64_t>(most));
    ++copies.count[most];
  }
  return copies;
}

/// Places of some experts on the ranks of one node.
Indices plan_node(std::span<const double> load, const Indices& experts, std::int64_t slots,
                  std::int64_t ranks) {
  std::vector<double> mine;
  for (const std::int64_t expert : experts) mine.push_back(load[expert]);
  const Copies copies = copies_of(mine, slots);
  std::vector<double> of_slot;
  for (const std::int64_t e : copies.expert_of)
    of_slot.push_back(mine[e] / static_cast<double>(copies.count[e]));
  Indices plan;
  for (const Indices& rank : packed(of_slot, ranks))
    for (const std::int64_t slot : rank) plan.push_back(experts[copies.expert_of[slot]]);
  return plan;
}

double max_over_mean(std::span<const double> rows, const Indices& rank_of, std::int64_t ranks) {
  std::vector<double> of_rank(static_cast<std::size_t>(ranks));
  for (std::size_t e = 0; e < rows.size(); ++e) of_rank[rank_of[e]] += rows[e];
  const double sum = std::reduce(of_rank.begin(), of_rank.end());
  return sum > 0 ? *std::max_element(of_rank.begin(), of_rank.end()) * static_cast<double>(ranks) / sum : 0;
}

/// [E] from a plan with one slot for each.
Indices slots_by_expert(const Indices& plan) {
  Indices slots(plan.size());
  for (std::size_t slot = 0; slot < plan.size(); ++slot) slots[plan[slot]] = static_cast<std::int64_t>(slot);
  return slots;
}

Indices ranks_of(Indices slots, std::int64_t ranks) {
  const std::int64_t each = std::ssize(slots) / ranks;
  for (std::int64_t& slot : slots) slot /= each;
  return slots;
}

void count_moves(PlanEffect& effect, const Indices& before, const Indices& now, std::int64_t ranks) {
  Indices arrived(static_cast<std::size_t>(ranks));
  for (std::size_t e = 0; e < now.size(); ++e)
    if (before[e] != now[e]) ++effect.moved, ++arrived[now[e]];
  effect.busiest = *std::max_element(arrived.begin(), arrived.end());
}

}  // namespace

std::vector<std::int64_t> plan_experts(std::span<const double> load, const PlanTask& task) {
  const auto experts = std::ssize(load);
  const bool by_node = task.nodes > 0 && task.groups % task.nodes == 0;
  const std::int64_t groups = by_node ? task.groups : 1, nodes = by_node ? task.nodes : 1;
  if (task.ranks < 1 || task.slots < experts || task.slots % task.ranks != 0 || groups < 1 ||
      experts % groups != 0 || task.ranks % nodes != 0)
    throw UsageError(cat(task.slots, " slots on ", task.ranks, " ranks of ", nodes,
                         " nodes are no place for ", experts, " experts in ", groups, " groups"));
  const std::int64_t of_group = experts / groups;
  std::vector<double> group_load(static_cast<std::size_t>(groups));
  for (std::int64_t e = 0; e < experts; ++e) group_load[e / of_group] += load[e];
  Indices plan;
  for (const Indices& node : packed(group_load, nodes)) {
    Indices mine;
    for (const std::int64_t group : node)
      for (std::int64_t i = 0; i < of_group; ++i) mine.push_back(group * of_group + i);
    const Indices placed = plan_node(load, mine, task.slots / nodes, task.ranks / nodes);
    plan.insert(plan.end(), placed.begin(), placed.end());
  }
  return plan;
}

StepPlans plan_steps(std::span<const std::vector<double>> rows, std::int64_t ranks, int window) {
  MB_ASSERT(!rows.empty() && window >= 1);
  const auto steps = std::ssize(rows);
  const auto experts = std::ssize(rows.front());
  const PlanTask task{.slots = experts, .ranks = ranks};
  // The step itself is no past, though iterations come back to it.
  StepPlans plans{.window =
                      static_cast<int>(std::min<std::int64_t>(window, std::max<std::int64_t>(steps - 1, 1)))};
  for (std::int64_t step = 0; step < steps; ++step) {
    std::vector<double> past(static_cast<std::size_t>(experts));
    for (int back = 1; back <= plans.window; ++back)
      for (std::int64_t e = 0; e < experts; ++e) past[e] += rows[(step + steps - back) % steps][e];
    plans.slot_of.push_back(slots_by_expert(plan_experts(past, task)));
  }
  Indices by_number(static_cast<std::size_t>(experts));
  std::iota(by_number.begin(), by_number.end(), 0);
  for (std::int64_t step = 0; step < steps; ++step) {
    const Indices now = ranks_of(plans.slot_of[step], ranks);
    PlanEffect effect{.before = max_over_mean(rows[step], ranks_of(by_number, ranks), ranks),
                      .planned = max_over_mean(rows[step], now, ranks)};
    const Indices best = slots_by_expert(plan_experts(rows[step], task));
    effect.oracle = max_over_mean(rows[step], ranks_of(best, ranks), ranks);
    count_moves(effect, ranks_of(plans.slot_of[(step + steps - 1) % steps], ranks), now, ranks);
    plans.effects.push_back(effect);
  }
  return plans;
}

PlannedDraw::PlannedDraw(std::unique_ptr<RoutingDraw> inner, const Shape& shape, int steps, int window)
    : inner_(std::move(inner)) {
  std::vector<std::vector<double>> rows(static_cast<std::size_t>(std::max(steps, 1)),
                                        std::vector<double>(static_cast<std::size_t>(shape.experts)));
  Indices chosen(static_cast<std::size_t>(shape.top_k));
  for (std::size_t step = 0; step < rows.size(); ++step)
    for (std::int64_t token = 0; token < shape.tokens; ++token) {
      inner_->choose(static_cast<int>(step), token, chosen);
      for (const std::int64_t expert : chosen) ++rows[step][expert];
    }
  plans_ = plan_steps(rows, shape.ep, window);
}

void PlannedDraw::choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const {
  inner_->choose(step, token, chosen);
  const Indices& slots = plans_.slot_of[static_cast<std::size_t>(step) % plans_.slot_of.size()];
  for (std::int64_t& expert : chosen) expert = slots[expert];
}

}  // namespace moebench
