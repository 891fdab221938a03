// SPDX-License-Identifier: Apache-2.0
#include "layer/check_memory.h"

#include <algorithm>

#include "base/dtype.h"
#include "layer/second_way.h"
#include "layer/verify.h"

namespace moebench {
namespace {

constexpr double kFloat = 4, kDouble = 8;

/// The sizes of a shape as floating-point numbers: products of them overflow nothing.
struct Sizes {
  explicit Sizes(const Shape& shape)
      : all(static_cast<double>(shape.tokens)),
        mine(static_cast<double>(shape.tokens_of(shape.ranks - 1))),
        h(static_cast<double>(shape.hidden)),
        f(static_cast<double>(shape.ffn)),
        w1(static_cast<double>(shape.w1_cols())),
        e(static_cast<double>(shape.experts)),
        local(static_cast<double>(shape.experts_per_rank())),
        k(static_cast<double>(shape.slots_per_token())),
        element(static_cast<double>(size_of(shape.dtype))) {}
  double expert() const { return h * w1 + f * h; }

  double all, mine, h, f, w1, e, local, k, element;
};

/// What SecondWay::allocate() makes, and the engine for its rows.
double second_way_on_device(const Sizes& n, bool backward, bool several_ranks) {
  const double rows = std::min(static_cast<double>(kSecondWayRows), n.all), passes = backward ? 2 : 1;
  const double row = 2 * passes * n.h + passes * (n.w1 + n.f) + 4 * n.h;  // and the engine's own copies
  const double sums = several_ranks ? rows * (2 * n.h + n.k + 3) * kFloat : 0;
  return (passes * n.expert() + rows * row) * n.element + sums + rows * kFloat;
}

/// Its sums, its results, and an expert's gradients: added up, on their way, and those of the layer.
double second_way_on_host(const Sizes& n) {
  const double rows = std::min(static_cast<double>(kSecondWayRows), n.all);
  return kFloat * (n.all * (2 * n.h + 3 * n.k + 3) + rows * n.h + 3 * n.expert()) +
         kDouble * (n.h * n.e + n.mine * (n.e + 2 * n.k + 2 * n.h + 3) + n.all * n.k);
}

/// Oracle::tokens() of so many: results, their experts' rows, and the batches that are worked on at once.
double oracle_of_tokens(const Sizes& n, double tokens, int threads) {
  const double at_once = std::min(1.0, 2.0 * threads / n.e);
  const double rows = tokens * n.k;
  return kDouble * (2 * rows * (n.h + 4) + at_once * rows * (4 * n.h + 2 * n.w1));
}

}  // namespace

CheckMemory check_memory(const Shape& shape, bool backward, bool full, bool second_way, int threads) {
  const Sizes n(shape);
  const double tokens = full ? n.mine : std::min(n.mine, static_cast<double>(kSampledTokens));
  const double experts = full ? n.local : std::min(n.local, static_cast<double>(kSampledExperts));
  const double units = full ? n.f : std::min(n.f, static_cast<double>(kSampledUnits));
  const bool second = second_way && !full;

  CheckMemory need;
  need.device = 4 * n.mine * n.h * n.element;  // x, dy, y, dx
  if (second) need.device = std::max(need.device, second_way_on_device(n, backward, shape.ranks > 1));

  const double outputs = 2 * kFloat * n.mine * n.h;
  const double inputs = 2 * kFloat * n.all * n.h + kDouble * n.h * n.e;
  const double choices = 2 * 4 * kFloat * n.all * n.k;  // the layer's, and the oracle's copy
  const double expected = kDouble * tokens * (n.e + 3 * n.k + 2 * n.h);
  const double of_units = backward ? kDouble * experts * units * (n.w1 / n.f + 1) * n.h : 0;
  const double gate = kDouble * n.h * n.e * (threads + 3);
  double most = std::max(oracle_of_tokens(n, tokens, threads), backward ? gate : 0);
  if (backward) most = std::max(most, of_units + kFloat * n.expert());
  if (second) most = std::max(most, of_units + second_way_on_host(n));
  need.host = outputs + inputs + choices + expected + most;
  if (shape.shared_experts == 0) return need;
  const CheckMemory shared = check_memory(shared_shape(shape), backward, full, second_way, threads);
  need.device = std::max(need.device, shared.device);  // one way after the other
  need.host += shared.host;
  return need;
}

}  // namespace moebench
