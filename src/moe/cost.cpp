// SPDX-License-Identifier: Apache-2.0
#include "moe/cost.h"

#include <algorithm>

#include "base/error.h"
#include "moe/parameter.h"

namespace moebench {
namespace {

/// The quantities the formulas are written in (docs/formulas.md), as doubles: bytes exceed 2^53 for no real layer.
struct Terms {
  double T, S, H, F, E, W1, e, n, a, s;
  double P;        ///< slots that have a row: S without the dropped ones
  double row;      ///< bytes of one row [H]
  double weights;  ///< elements of one expert's matrices
  double N;        ///< shared experts
  double gate;     ///< bytes of the gate's weight
  double kept;     ///< slots whose expert is on this rank: copied, not sent

  Terms(const Shape& shape, const RankLoad& load)
      : T(static_cast<double>(load.tokens)),
        S(T * static_cast<double>(shape.slots_per_token())),
        H(static_cast<double>(shape.hidden)),
        F(static_cast<double>(shape.ffn)),
        E(static_cast<double>(shape.experts)),
        W1(static_cast<double>(shape.w1_cols())),
        e(static_cast<double>(shape.experts_per_rank())),
        n(static_cast<double>(load.rows)),
        a(static_cast<double>(load.active_experts)),
        s(static_cast<double>(size_of(shape.dtype))),
        P(S - static_cast<double>(load.dropped)),
        row(H * s),
        weights(H * W1 + F * H),
        N(static_cast<double>(shape.shared_experts)),
        gate(E * H * static_cast<double>(size_of(shape.router_dtype()))),
        kept(P - static_cast<double>(load.sent_rows)) {}
};

constexpr double kIndex = 4, kScore = 4;  // bytes of an index and of a score

StageCost exchange(const Terms& t, const RankLoad& load) {
  if (load.peers == 0) return {};
  const auto crossing = static_cast<double>(std::max(load.sent_rows, load.received_rows));
  return {.bytes = 2 * t.kept * t.row, .link_bytes = crossing * t.row, .messages = 1};
}

StageCost forward_cost(const Terms& t, const RankLoad& load, Stage stage) {
  switch (stage) {
    case Stage::gate:
      return {.flops = 2 * t.T * t.H * t.E, .bytes = t.T * t.row + t.gate + t.S * (kIndex + kScore)};
    case Stage::plan:
      return {.bytes = 2 * t.S * kIndex + (2 * t.E + 1) * kIndex};
    case Stage::pack:
      return {.bytes = (t.T + t.P) * t.row + t.S * kIndex};
    case Stage::sizes:
      if (load.peers == 0) return {};
      return {.link_bytes = static_cast<double>(load.peers) * t.e * 8, .messages = 1};
    case Stage::dispatch:
    case Stage::collect:
      return exchange(t, load);
    case Stage::shared:  // reads x and y, and adds to y
      if (t.N == 0) return {};
      return {.flops = 2 * t.T * t.N * t.weights, .bytes = t.N * t.weights * t.s + 3 * t.T * t.row};
    case Stage::experts:
      return {.flops = 2 * t.n * t.weights, .bytes = t.a * t.weights * t.s + 2 * t.n * t.row};
    case Stage::combine:
      return {.bytes = (t.P + t.T) * t.row + t.S * (kIndex + kScore)};
    case Stage::sync:
      break;
  }
  return {};
}

StageCost backward_cost(const Terms& t, const RankLoad& load, Stage stage) {
  switch (stage) {
    case Stage::
        combine:  // dscore = <dy, out> needs no reading of out: it is <dact, act> as well, inside the experts
      return {.bytes = (t.T + t.P) * t.row + t.S * (kIndex + 2 * kScore)};
    case Stage::collect:
    case Stage::dispatch:
      return exchange(t, load);
    case Stage::shared:  // reads x, dy, the pre-activation, the weights and dx; writes dx and every gradient
      if (t.N == 0) return {};
      return {.flops = 4 * t.T * t.N * t.weights,
              .bytes = 2 * t.N * t.weights * t.s + t.T * (4 * t.row + t.N * t.W1 * t.s)};
    case Stage::experts:  // reads x, dout, the pre-activation and the weights; writes dx and every gradient
      return {.flops = 4 * t.n * t.weights,
              .bytes = (t.a + t.e) * t.weights * t.s + t.n * (3 * t.row + t.W1 * t.s)};
    case Stage::pack:
      return {.bytes = (t.P + t.T) * t.row + t.S * kIndex};
    case Stage::gate:  // reads x, dx and the weight; writes dx and dweight
      return {.flops = 4 * t.T * t.H * t.E,
              .bytes = 3 * t.T * t.row + 2 * t.gate + t.S * (kIndex + 2 * kScore)};
    case Stage::plan:
    case Stage::sizes:
    case Stage::sync:
      break;
  }
  return {};
}

/// A stage of `--exchange direct` that moves rows. `in`, `out`: tokens whose row arrives or leaves, once per rank.
/// Only `pack` (backward: `combine`) and the sums touch the rows of experts; rows that travel are on the link's account.
StageCost deduplicated_cost(const Terms& t, const RankLoad& load, Stage stage, Pass pass) {
  const auto in = static_cast<double>(load.received_rows), out = static_cast<double>(load.sent_rows);
  const auto foreign = static_cast<double>(load.received_copies);  // rows of experts for other ranks' tokens
  const double own = t.P - static_cast<double>(load.sent_copies);  // and for this rank's tokens
  const bool forward = pass == Pass::forward;
  const auto crossing = [&](double bytes) {
    return StageCost{.bytes = bytes, .link_bytes = std::max(in, out) * t.row, .messages = 1};
  };
  const double lists = t.n * (kIndex + kScore);
  const bool returns = stage == (forward ? Stage::collect : Stage::dispatch),
             sums = stage == (forward ? Stage::combine : Stage::pack);
  if (load.returns_by_slot && returns)  // stored by the experts' product, once per expert
    return {.link_bytes = std::max(foreign, static_cast<double>(load.sent_copies)) * t.row, .messages = 1};
  if (load.returns_by_slot && sums) return {.bytes = (t.P + t.T) * t.row + t.S * (kIndex + kScore)};
  switch (stage) {
    case Stage::dispatch:  // forward reads the tokens that leave; backward sums the rows of received tokens
      return crossing(forward ? std::min(out, t.T) * t.row : foreign * t.row);
    case Stage::collect:  // the same the other way round
      return crossing(forward ? foreign * t.row : std::min(out, t.T) * t.row);
    case Stage::pack:
      return {.bytes = forward ? (in + t.T + t.n) * t.row + lists : (own + out + t.T) * t.row + lists};
    case Stage::combine:
      return {.bytes = forward ? (own + out + t.T) * t.row + lists : (in + t.T + t.n) * t.row + lists};
    case Stage::sizes:
      return {.link_bytes = static_cast<double>(load.peers) * t.E * kIndex, .messages = 1};
    default:
      MB_ASSERT(false);
  }
}

bool moves_rows(Stage stage, Pass pass) {
  return stage == Stage::dispatch || stage == Stage::collect || stage == Stage::pack ||
         stage == Stage::combine || (stage == Stage::sizes && pass == Pass::forward);
}

/// A ring all-reduce of B bytes over n ranks sends 2·(n-1)/n·B from each (Patarasuk & Yuan 2009).
StageCost sync_cost(const Shape& shape) {
  StageCost cost;
  for (const ParameterSpec& spec : parameters_of(shape, 0)) {
    const int group = spec.tag == Tag::world           ? shape.ranks
                      : spec.tag == Tag::data_parallel ? shape.ranks / shape.ep
                                                       : 1;
    if (group == 1) continue;
    const double bytes = static_cast<double>(spec.elements()) * static_cast<double>(size_of(spec.dtype));
    cost.link_bytes += 2.0 * (group - 1) / group * bytes;
    cost.bytes += 2 * bytes;
    cost.messages += 1;
  }
  return cost;
}

}  // namespace

StageCost gate_cost(const Shape& shape, const RankLoad& load, Pass pass) {
  return cost_of(shape, load, Stage::gate, pass);
}

StageCost& StageCost::operator+=(const StageCost& other) {
  flops += other.flops;
  bytes += other.bytes;
  link_bytes += other.link_bytes;
  messages += other.messages;
  overlaps = overlaps || other.overlaps;
  return *this;
}

StageCost cost_of(const Shape& shape, const RankLoad& load, Stage stage, Pass pass) {
  const Terms terms(shape, load);
  if (load.deduplicated && pass != Pass::sync && moves_rows(stage, pass))
    return deduplicated_cost(terms, load, stage, pass);
  switch (pass) {
    case Pass::forward:
      return forward_cost(terms, load, stage);
    case Pass::backward:
      return backward_cost(terms, load, stage);
    case Pass::sync:
      return stage == Stage::sync ? sync_cost(shape) : StageCost{};
  }
  return {};
}

StageCost cost_of(const Shape& shape, const RankLoad& load, Pass pass) {
  StageCost total;
  if (pass == Pass::sync) return sync_cost(shape);
  for (const Stage stage : kForwardStages) total += cost_of(shape, load, stage, pass);
  return total;
}

MemoryEstimate estimate_memory(const Shape& shape, bool backward, int input_sets, double rows) {
  const double s = static_cast<double>(size_of(shape.dtype));
  const double T = static_cast<double>(shape.tokens_of(shape.ranks - 1)),
               H = static_cast<double>(shape.hidden);
  const double S = T * static_cast<double>(shape.top_k), W1 = static_cast<double>(shape.w1_cols());
  const double F = static_cast<double>(shape.ffn), E = static_cast<double>(shape.experts);
  double parameters = 0;
  for (const ParameterSpec& spec : parameters_of(shape, 0))
    parameters += static_cast<double>(spec.elements()) * static_cast<double>(size_of(spec.dtype));
  // Rows [S, H]: packed and computed, and with several ranks received and collected; backward as many again.
  const double n = rows > 0 ? rows : S, passes = backward ? 2 : 1;
  const double row_tensors = passes * (shape.ep > 1 ? 2 * S + 2 * n : 2 * S);
  const double inside = W1 + F + (backward ? W1 + F : 0);  // pre-activation, activation, and their gradients
  const double N = static_cast<double>(shape.shared_experts);
  const double shared = N > 0 ? T * (H + N * inside) * s : 0;
  const double widened = shape.router_dtype() == shape.dtype || s == 4 ? 0 : 4 * T * H;  // x in fp32
  return {.weights = parameters,
          .gradients = backward ? parameters : 0,
          .activations = (row_tensors * H + n * inside) * s + 2 * T * E * 4 +
                         T * static_cast<double>(shape.slots_per_token()) * 5 * 4 + shared + widened,
          // x and dy of every set; y, and dx.
          .inputs = (input_sets + 1) * T * H * s * passes};
}

}  // namespace moebench
