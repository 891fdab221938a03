// SPDX-License-Identifier: Apache-2.0
// Routings that take experts in turn: balanced, and one hot expert among them.
#include "base/error.h"
#include "moe/random_field.h"
#include "moe/routing_draw.h"

namespace moebench {
namespace {

/// Token t takes experts tK, tK + 1, … mod E; with probability F the hot expert is one of them.
class EvenDraw : public RoutingDraw {
 public:
  explicit EvenDraw(const RoutingDrawArgs& args) : args_(args) {}

  void choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const override {
    const std::int64_t k = std::ssize(chosen), e = args_.shape.experts;
    const std::int64_t hot = hot_expert(step);
    std::size_t n = 0;
    if (hot >= 0 && fraction(key_of_token(args_.seed, step, token), 0) < args_.parameter) chosen[n++] = hot;
    for (std::int64_t j = 0; n < chosen.size(); ++j)
      if (const std::int64_t expert = (token * k + j) % e; !contains(chosen.first(n), expert))
        chosen[n++] = expert;
  }

 protected:
  /// −1: none in this step.
  virtual std::int64_t hot_expert(int /*step*/) const { return -1; }
  const Shape& shape() const { return args_.shape; }

 private:
  RoutingDrawArgs args_;
};

class HotDraw final : public EvenDraw {
  using EvenDraw::EvenDraw;
  std::int64_t hot_expert(int) const override { return 0; }
};

class BurstDraw final : public EvenDraw {
  using EvenDraw::EvenDraw;
  std::int64_t hot_expert(int step) const override { return step % 4 == 3 ? 0 : -1; }
};

/// The hot expert moves on by an eighth of the experts in every step: with 8 ranks it is on each of them in turn.
class RotateDraw final : public EvenDraw {
  using EvenDraw::EvenDraw;
  std::int64_t hot_expert(int step) const override {
    const int period = period_of_rotate(shape());
    return step % period * shape().experts / period;
  }
};

/// The K experts of a token lie as far apart as they can: (t + ⌊jE/K⌋) mod E.
class SpreadDraw final : public RoutingDraw {
 public:
  explicit SpreadDraw(const RoutingDrawArgs& args) : experts_(args.shape.experts) {}
  void choose(int, std::int64_t token, std::span<std::int64_t> chosen) const override {
    const std::int64_t k = std::ssize(chosen);
    for (std::int64_t j = 0; j < k; ++j) chosen[j] = (token + j * experts_ / k) % experts_;
  }

 private:
  std::int64_t experts_;
};

class OneDraw final : public RoutingDraw {
 public:
  void choose(int, std::int64_t, std::span<std::int64_t> chosen) const override {
    for (std::int64_t j = 0; j < std::ssize(chosen); ++j) chosen[j] = j;
  }
};

}  // namespace

std::uint64_t key_of_token(std::uint64_t seed, int step, std::int64_t token) {
  return mix(key_of(seed, RandomField::routing, step), static_cast<std::uint64_t>(token));
}

int period_of_rotate(const Shape& shape) {
  return static_cast<int>(std::min<std::int64_t>(shape.experts, 8));
}

std::unique_ptr<RoutingDraw> draw_balanced(const RoutingDrawArgs& args) {
  return std::make_unique<EvenDraw>(args);
}
std::unique_ptr<RoutingDraw> draw_balanced_spread(const RoutingDrawArgs& args) {
  return std::make_unique<SpreadDraw>(args);
}
std::unique_ptr<RoutingDraw> draw_hot(const RoutingDrawArgs& args) { return std::make_unique<HotDraw>(args); }
std::unique_ptr<RoutingDraw> draw_burst(const RoutingDrawArgs& args) {
  return std::make_unique<BurstDraw>(args);
}
std::unique_ptr<RoutingDraw> draw_rotate(const RoutingDrawArgs& args) {
  return std::make_unique<RotateDraw>(args);
}
std::unique_ptr<RoutingDraw> draw_one(const RoutingDrawArgs&) { return std::make_unique<OneDraw>(); }

}  // namespace moebench
