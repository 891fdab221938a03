// SPDX-License-Identifier: Apache-2.0
// Routings that draw K different experts by weight: zipf and lognormal.
#include <cmath>
#include <numbers>
#include <numeric>

#include "moe/random_field.h"
#include "moe/routing_draw.h"

namespace moebench {
namespace {

/// Draws by weight, and draws again on a repeat.
class WeightedDraw final : public RoutingDraw {
 public:
  WeightedDraw(const std::vector<double>& weights, std::uint64_t seed)
      : cumulative_(weights.size()), likeliest_(weights.size()), seed_(seed) {
    std::partial_sum(weights.begin(), weights.end(), cumulative_.begin());
    for (double& value : cumulative_) value /= cumulative_.back();
    std::iota(likeliest_.begin(), likeliest_.end(), std::int64_t{0});
    std::stable_sort(likeliest_.begin(), likeliest_.end(),
                     [&](std::int64_t a, std::int64_t b) { return weights[a] > weights[b]; });
  }

  void choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const override {
    const std::uint64_t key = key_of_token(seed_, step, token);
    constexpr std::uint64_t kDraws = 256;  // then the likeliest that are left: K near E with a steep skew
    std::size_t n = 0;
    const auto add = [&](std::int64_t expert) {
      if (!contains(chosen.first(n), expert)) chosen[n++] = expert;
    };
    for (std::uint64_t draw = 0; draw < kDraws && n < chosen.size(); ++draw) {
      const auto at = std::upper_bound(cumulative_.begin(), cumulative_.end(), fraction(key, draw));
      add(std::min<std::int64_t>(at - cumulative_.begin(), std::ssize(cumulative_) - 1));
    }
    for (std::size_t i = 0; n < chosen.size(); ++i) add(likeliest_[i]);
  }

 private:
  std::vector<double> cumulative_;  ///< [E], ends at 1
  std::vector<std::int64_t> likeliest_;
  std::uint64_t seed_;
};

}  // namespace

std::unique_ptr<RoutingDraw> draw_zipf(const RoutingDrawArgs& args) {
  std::vector<double> weights(static_cast<std::size_t>(args.shape.experts));
  for (std::size_t i = 0; i < weights.size(); ++i)
    weights[i] = std::pow(static_cast<double>(i + 1), -args.parameter);
  return std::make_unique<WeightedDraw>(weights, args.seed);
}

/// Standard normal numbers by Box and Muller; an expert's is the same whatever S is.
std::unique_ptr<RoutingDraw> draw_lognormal(const RoutingDrawArgs& args) {
  const std::uint64_t key = key_of(args.seed, RandomField::popularity);
  std::vector<double> weights(static_cast<std::size_t>(args.shape.experts));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double normal = std::sqrt(-2 * std::log1p(-fraction(key, 2 * i))) *
                          std::cos(2 * std::numbers::pi * fraction(key, 2 * i + 1));
    weights[i] = std::exp(args.parameter * normal);
  }
  return std::make_unique<WeightedDraw>(weights, args.seed);
}

}  // namespace moebench
