// SPDX-License-Identifier: Apache-2.0
#include "moe/target_imbalance.h"

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "moe/load.h"

namespace moebench {
namespace {

bool is_within(double reached, double target) { return std::abs(reached / target - 1) <= 0.01; }

}  // namespace

double parse_target_imbalance(std::string_view word) {
  if (word == "none") return 0;
  const auto value = to_double(word);
  if (!value || !(*value >= 1))
    throw UsageError(cat("target-imbalance '", word, "' is not none or a number from 1 on"));
  return *value;
}

double imbalance_of(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed) {
  const auto draw = make_draw(shape, routing, seed);
  const int step = period_of(routing, shape) - 1;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.experts));
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(shape.top_k));
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    draw->choose(step, token, chosen);
    for (const std::int64_t expert : chosen) ++rows[expert];
  }
  return load_stats(rows).imbalance + 1;
}

/// Not every kind rises with its parameter everywhere: a coarse scan finds the first crossing, halving refines it.
FoundParameter find_parameter(const Shape& shape, RoutingDistribution routing, std::uint64_t seed,
                              double target) {
  routing.placement = Placement::contiguous;  // the rows of experts are the same wherever they lie
  constexpr int kScan = 40, kHalvings = 24;
  FoundParameter best{.reached = std::nan("")};
  const auto try_at = [&](double parameter) {
    routing.parameter = to_double(cat(parameter)).value();
    const double reached = imbalance_of(shape, routing, seed);
    if (std::isnan(best.reached) || std::abs(reached - target) < std::abs(best.reached - target))
      best = {routing.parameter, reached, is_within(reached, target)};
    return reached;
  };
  const RoutingKind& kind = *routing.kind;
  double low = kind.min, at_low = try_at(low), high = low;
  for (int i = 1; i <= kScan && high == low && !best.within; ++i) {
    const double next = kind.min + (kind.max - kind.min) * i / kScan, at_next = try_at(next);
    if ((at_low <= target) != (at_next <= target))
      high = next;
    else
      low = high = next, at_low = at_next;
  }
  const bool rises = at_low <= target;
  for (int i = 0; i < kHalvings && high != low && !best.within; ++i) {
    const double middle = (low + high) / 2;
    ((try_at(middle) <= target) == rises ? low : high) = middle;
  }
  return best;
}

std::string why_not_target(const Shape& shape, const RoutingDistribution& routing, std::uint64_t seed,
                           double target) {
  if (target == 0) return {};
  if (routing.kind->parameter.empty() || !routing.kind->draw)
    return cat("--target-imbalance finds a routing's parameter, and '", name_of(routing),
               "' has none; valid: zipf, lognormal, power-law, hot, hot-rank, burst, rotate");
  if (shape.tokens == 0) return "--target-imbalance needs tokens";
  if (routing.lacks_parameter()) {
    const FoundParameter nearest = find_parameter(shape, routing, seed, target);
    if (nearest.within) return {};
    return format("--target-imbalance %g: routing %s comes as near as %.3g (%s = %g)", target,
                  std::string(routing.kind->name).c_str(), nearest.reached,
                  std::string(routing.kind->parameter).c_str(), nearest.parameter);
  }
  const double reached = imbalance_of(shape, routing, seed);
  if (is_within(reached, target)) return {};
  return format("--target-imbalance %g: routing %s has %.3g; leave its parameter out to have it found",
                target, name_of(routing).c_str(), reached);
}

}  // namespace moebench
