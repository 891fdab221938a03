// SPDX-License-Identifier: Apache-2.0
#include "layer/gates/choice.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace moebench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The sum of the group's `counted` best, of each group.
std::vector<double> group_scores(const GateRule& rule, const std::vector<double>& ranks) {
  std::vector<double> scores;
  const auto size = std::ssize(ranks) / rule.groups;
  for (int g = 0; g < rule.groups; ++g) {
    std::vector<double> of_group(ranks.begin() + g * size, ranks.begin() + (g + 1) * size);
    std::sort(of_group.begin(), of_group.end(), std::greater());
    scores.push_back(std::reduce(of_group.begin(), of_group.begin() + rule.counted));
  }
  return scores;
}

std::vector<std::int32_t> every(std::int64_t count) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

/// Indices of the `count` largest, best first, the lower on a tie.
std::vector<std::int32_t> largest(const std::vector<double>& values, std::int64_t count) {
  auto order = every(std::ssize(values));
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return values[a] > values[b]; });
  order.resize(static_cast<std::size_t>(count));
  return order;
}

/// By how much the best value that is not taken beats the worst that is; 0 or less if none does.
double lead_of_rest(const std::vector<double>& values, const std::vector<bool>& taken) {
  double worst_taken = kInfinity, best_left = -kInfinity;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (taken[i])
      worst_taken = std::min(worst_taken, values[i]);
    else
      best_left = std::max(best_left, values[i]);
  return best_left - worst_taken;
}

double largest_size(std::span<const double> values) {
  double size = 0;
  for (const double value : values)
    if (std::isfinite(value)) size = std::max(size, std::abs(value));
  return size;
}

/// Ranks with −∞ for the experts of groups that are not kept.
std::vector<double> within(const std::vector<bool>& kept, std::vector<double> ranks) {
  const std::size_t size = ranks.size() / kept.size();
  for (std::size_t e = 0; e < ranks.size(); ++e)
    if (!kept[e / size]) ranks[e] = -kInfinity;
  return ranks;
}

std::vector<double> ranks_of(const GateDefinition& gate, std::span<const double> logits,
                             std::span<const double> offsets) {
  auto ranks = gate.ranking(logits);
  for (std::size_t e = 0; e < offsets.size(); ++e) ranks[e] += offsets[e];
  return ranks;
}

}  // namespace

std::vector<std::int32_t> choose(const GateDefinition& gate, std::span<const double> logits,
                                 std::int64_t top_k, std::span<const double> offsets) {
  const GateRule rule = gate.rule();
  const auto ranks = ranks_of(gate, logits, offsets);
  if (rule.all_experts) return every(std::ssize(ranks));
  if (rule.groups == 1) return largest(ranks, top_k);
  std::vector<bool> kept(static_cast<std::size_t>(rule.groups));
  for (const std::int32_t g : largest(group_scores(rule, ranks), rule.kept_groups)) kept[g] = true;
  return largest(within(kept, ranks), top_k);
}

double misrouting(const GateDefinition& gate, std::span<const double> logits,
                  std::span<const std::int32_t> chosen, std::span<const double> offsets) {
  const GateRule rule = gate.rule();
  const auto ranks = ranks_of(gate, logits, offsets);
  std::vector<bool> taken(ranks.size()), kept(static_cast<std::size_t>(rule.groups));
  for (const std::int32_t e : chosen) {
    taken[e] = true;
    kept[static_cast<std::size_t>(e) / (ranks.size() / kept.size())] = true;
  }
  const double size =
      std::max({largest_size(ranks), largest_size(offsets), offsets.empty() ? 0 : largest_size(logits)});
  const auto relative = [](double lead, double of) { return of > 0 ? std::max(0.0, lead / of) : 0; };
  if (rule.groups == 1) return relative(lead_of_rest(ranks, taken), size);
  const auto scores = group_scores(rule, ranks);
  const auto order = largest(scores, rule.groups);
  auto count = std::count(kept.begin(), kept.end(), true);
  if (count > rule.kept_groups) return kInfinity;
  for (auto next = order.begin(); count < rule.kept_groups; ++next)
    if (!kept[*next]) kept[*next] = true, ++count;
  return std::max(relative(lead_of_rest(scores, kept), largest_size(scores)),
                  relative(lead_of_rest(within(kept, ranks), taken), size));
}

}  // namespace moebench
