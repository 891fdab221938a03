// SPDX-License-Identifier: Apache-2.0
#include "moe/routing_counts.h"

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "moe/permutation.h"
#include "moe/random_field.h"

namespace moebench {
namespace {

/// Real numbers in proportion to the weights that add up to tokens·K, none above `tokens`.
std::vector<double> shares_below(std::vector<double> weights, std::int64_t tokens, std::int64_t top_k) {
  const auto max = static_cast<double>(tokens);
  std::vector<double> shares(weights.size(), -1);
  double left = max * static_cast<double>(top_k);
  for (bool again = true; again;) {
    again = false;
    double sum = 0;
    std::size_t free = 0;
    for (std::size_t e = 0; e < weights.size(); ++e)
      if (shares[e] < 0) sum += weights[e], ++free;
    if (free == 0) break;
    if (sum <= 0) std::fill(weights.begin(), weights.end(), 1.0), sum = static_cast<double>(free);
    const double scale = left / sum;
    for (std::size_t e = 0; e < weights.size(); ++e)
      if (shares[e] < 0 && weights[e] * scale >= max) shares[e] = max, left -= max, again = true;
    if (again) continue;
    for (std::size_t e = 0; e < weights.size(); ++e)
      if (shares[e] < 0) shares[e] = weights[e] * scale;
  }
  return shares;
}

/// Inverse distribution function of x^-a on [min, max].
double power_law(double u, double a, double min, double max) {
  if (std::abs(a - 1) < 1e-9) return min * std::pow(max / min, u);
  const double from = std::pow(min, 1 - a), to = std::pow(max, 1 - a);
  return std::pow((to - from) * u + from, 1 / (1 - a));
}

}  // namespace

std::vector<std::int64_t> counts_in_proportion(std::span<const double> weights, std::int64_t tokens,
                                               std::int64_t top_k) {
  MB_ASSERT(top_k <= std::ssize(weights));
  const auto shares = shares_below({weights.begin(), weights.end()}, tokens, top_k);
  std::vector<std::int64_t> counts, order(weights.size());
  std::int64_t left = tokens * top_k;
  for (const double share : shares) {
    counts.push_back(std::min(tokens, static_cast<std::int64_t>(share)));
    left -= counts.back();
  }
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto remainder = [&](std::int64_t e) { return shares[e] - static_cast<double>(counts[e]); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return remainder(a) > remainder(b); });
  for (std::size_t i = 0; left > 0; i = (i + 1) % order.size())
    if (counts[order[i]] < tokens) ++counts[order[i]], --left;
  return counts;
}

CountsDraw::CountsDraw(std::span<const std::int64_t> counts, std::int64_t tokens, std::uint64_t seed)
    : experts_(counts.size()), tokens_(tokens), seed_(seed) {
  std::iota(experts_.begin(), experts_.end(), std::int64_t{0});
  std::stable_sort(experts_.begin(), experts_.end(),
                   [&](std::int64_t a, std::int64_t b) { return counts[a] > counts[b]; });
  std::int64_t end = 0;
  for (const std::int64_t expert : experts_) end_.push_back(end += counts[expert]);
}

void CountsDraw::choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const {
  const Permutation order(static_cast<std::uint64_t>(tokens_), key_of(seed_, RandomField::order, step));
  auto place = static_cast<std::int64_t>(order.at(static_cast<std::uint64_t>(token)));
  for (std::int64_t& expert : chosen) {
    expert = experts_[std::upper_bound(end_.begin(), end_.end(), place) - end_.begin()];
    place += tokens_;
  }
}

/// As aiconfigurator's `power_law_A` (ai-dynamo/aiconfigurator, collector/helper.py): counts by the inverse distribution
/// function, scaled to T·K. What depends on the ranks there (where overflow goes, the fullest rank in front) does not here.
std::unique_ptr<RoutingDraw> draw_power_law(const RoutingDrawArgs& args) {
  const auto tokens = static_cast<double>(args.shape.tokens);
  const bool many = args.shape.tokens * args.shape.top_k > args.shape.experts;
  const std::uint64_t key = key_of(args.seed, RandomField::popularity);
  std::vector<double> weights;
  for (std::int64_t e = 0; e < args.shape.experts; ++e) {
    const double u = fraction(key, static_cast<std::uint64_t>(e));
    weights.push_back(many ? power_law(u, args.parameter, 1, std::max(0.8 * tokens, 1.0))
                           : power_law(u, args.parameter, 0.01, 2));
  }
  const auto counts = counts_in_proportion(weights, args.shape.tokens, args.shape.top_k);
  return std::make_unique<CountsDraw>(counts, args.shape.tokens, args.seed);
}

}  // namespace moebench
