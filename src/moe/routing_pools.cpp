// SPDX-License-Identifier: Apache-2.0
// Routings that draw K different experts evenly from a pool that depends on step and token: hot-rank, and the workloads W1
// to W7 of Megatron-LM's token-imbalance benchmark (pull request 7488), drawn by our counter.
#include <numeric>

#include "moe/random_field.h"
#include "moe/routing_draw.h"

namespace moebench {
namespace {

/// Experts first, first + 1, … mod E; with `evens` 0, 2, 4, … and, past the last of these, 1, 3, ….
struct Pool {
  std::int64_t first = 0, size = 0;
  bool evens = false;
};

struct PoolQuestion {
  const Shape& shape;
  double parameter;
  std::uint64_t key;  ///< of the token; number 0 is free
  int step;
  std::int64_t token;
};

Pool all_of(const Shape& shape) { return {.size = shape.experts}; }
Pool hot_of(const Shape& shape) { return {.size = hot_set_size(shape)}; }
std::int64_t half_of(const Shape& shape, std::int64_t half) { return std::max(shape.top_k, half); }
/// Three rows of four.
bool of_most(std::int64_t token) { return token % 4 != 0; }

using ChoosePool = Pool (*)(const PoolQuestion&);

class PoolDraw final : public RoutingDraw {
 public:
  PoolDraw(const RoutingDrawArgs& args, ChoosePool pool) : args_(args), pool_(pool) {}

  /// Floyd's sample without replacement (Bentley, "A sample of brilliance", Commun. ACM 30(9), 1987), in ascending order.
  void choose(int step, std::int64_t token, std::span<std::int64_t> chosen) const override {
    const std::uint64_t key = key_of_token(args_.seed, step, token);
    const Pool pool = pool_({args_.shape, args_.parameter, key, step, token});
    const std::int64_t k = std::ssize(chosen);
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int64_t last = pool.size - k + j;
      const auto place = static_cast<std::int64_t>(fraction(key, static_cast<std::uint64_t>(j) + 1) *
                                                   static_cast<double>(last + 1));
      chosen[j] = contains(chosen.first(j), place) ? last : place;
    }
    for (std::int64_t& place : chosen) place = expert_at(pool, place);
    std::sort(chosen.begin(), chosen.end());
  }

 private:
  std::int64_t expert_at(const Pool& pool, std::int64_t place) const {
    const std::int64_t e = args_.shape.experts, evens = (e + 1) / 2;
    if (!pool.evens) return (pool.first + place) % e;
    return place < evens ? 2 * place : 2 * (place - evens) + 1;
  }

  RoutingDrawArgs args_;
  ChoosePool pool_;
};

Pool pool_of_hot_rank(const PoolQuestion& q) {
  const bool hot = fraction(q.key, 0) < q.parameter;
  return hot ? Pool{.size = std::max(q.shape.top_k, q.shape.experts_per_rank())} : all_of(q.shape);
}

Pool pool_of_w1(const PoolQuestion& q) { return of_most(q.token) ? hot_of(q.shape) : all_of(q.shape); }

Pool pool_of_w3(const PoolQuestion& q) {
  if (!of_most(q.token)) return all_of(q.shape);
  return {.size = half_of(q.shape, q.shape.experts / 2), .evens = true};
}

Pool pool_of_w4(const PoolQuestion& q) { return all_of(q.shape); }

Pool pool_of_w5(const PoolQuestion& q) {
  const std::int64_t size = half_of(q.shape, q.shape.experts - q.shape.experts / 2);
  return {.first = q.shape.experts - size, .size = size};
}

Pool pool_of_w6(const PoolQuestion& q) {
  if (!of_most(q.token)) return all_of(q.shape);
  const std::int64_t size = hot_set_size(q.shape), block = q.step % period_of_w6(q.shape) / 3;
  return {.first = block * size % q.shape.experts, .size = size};
}

Pool pool_of_w7(const PoolQuestion& q) {
  return q.step % 4 == 3 && q.token % 2 == 0 ? hot_of(q.shape) : all_of(q.shape);
}

}  // namespace

std::int64_t hot_set_size(const Shape& shape) { return std::max(shape.top_k, shape.experts / 4); }

/// The block is moved by its size every third step, until it is back at expert 0.
int period_of_w6(const Shape& shape) {
  return static_cast<int>(3 * (shape.experts / std::gcd(hot_set_size(shape), shape.experts)));
}

std::unique_ptr<RoutingDraw> draw_hot_rank(const RoutingDrawArgs& args) {
  return std::make_unique<PoolDraw>(args, pool_of_hot_rank);
}
std::unique_ptr<RoutingDraw> draw_w1(const RoutingDrawArgs& args) {
  return std::make_unique<PoolDraw>(args, pool_of_w1);
}
std::unique_ptr<RoutingDraw> draw_w3(const RoutingDrawArgs& args) {
  return std::make_unique<PoolDraw>(args, pool_of_w3);
}
std::unique_ptr<RoutingDraw> draw_w4(const RoutingDrawArgs& args) {
  return std::make_unique<PoolDraw>(args, pool_of_w4);
}
std::unique_ptr<RoutingDraw> draw_w5(const RoutingDrawArgs& args) {
  return std::make_unique<PoolDraw>(args, pool_of_w5);
}
std::unique_ptr<RoutingDraw> draw_w6(const RoutingDrawArgs& args) {
  return std::make_unique<PoolDraw>(args, pool_of_w6);
}
std::unique_ptr<RoutingDraw> draw_w7(const RoutingDrawArgs& args) {
  return std::make_unique<PoolDraw>(args, pool_of_w7);
}

}  // namespace moebench
