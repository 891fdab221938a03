// SPDX-License-Identifier: Apache-2.0
#include "layer/gates/capacity.h"

#include <algorithm>
#include <tuple>

#include "base/bump_allocator.h"

namespace moebench {
namespace {

/// Sorts like the slots of one expert stay: the first stays longest.
std::tuple<std::int64_t, double, std::int64_t> order_of(const Capacity& capacity, const Shape& shape,
                                                        std::span<const float> score, std::int64_t slot) {
  const std::int64_t choice = slot % shape.slots_per_token(), token = slot / shape.slots_per_token();
  switch (capacity.policy) {
    case DropPolicy::position:
      return {0, 0, token};
    case DropPolicy::probs:
      return {0, -double{score[slot]}, token};
    case DropPolicy::choice:
      return {choice, 0, token};
    case DropPolicy::priority:
      return {choice, -double{score[token * shape.slots_per_token()]}, token};
  }
  return {};
}

void drop_by_chance(std::uint64_t key, std::int64_t top_k, std::span<const float> score,
                    std::span<std::int32_t> expert_of) {
  for (std::int64_t slot = 1; slot < std::ssize(expert_of); slot += top_k) {
    const std::uint64_t bits = mix(key, static_cast<std::uint64_t>(slot / top_k)) >> 40;
    if (2 * double{score[slot]} <= static_cast<double>(bits) / (1 << 24)) expert_of[slot] = -1;
  }
}

class LimitedGate final : public Gate {
 public:
  LimitedGate(const GateArgs& args, const DropRule& rule, std::unique_ptr<Gate> gate)
      : backend_(args.backend),
        shape_(args.shape),
        first_token_(args.first_token),
        rule_(rule),
        group_(rule.capacity.limits() ? rule.capacity.group_of(args.shape) : args.tokens),
        rows_(rule.capacity.limits() ? rule.capacity.rows_of(args.shape) : args.tokens),
        gate_(std::move(gate)),
        storage_(allocate_together(args.backend.memory(), [&](BumpAllocator& allocator) {
          const std::int64_t groups = args.tokens > 0 ? args.tokens / group_ : 0;
          allocator.allocate(scratch_,
                             args.tokens * args.shape.slots_per_token() + groups * args.shape.experts);
        })) {}

  const GateDefinition& definition() const override { return gate_->definition(); }

  void begin_step(int step) override { gate_->begin_step(step); }
  void set_bias(int step, std::span<const float> bias) override { gate_->set_bias(step, bias); }
  void forward(const TensorView& x, const TensorView& weight, const Routing& routing) override {
    gate_->forward(x, weight, routing);
    if (routing.expert_of.empty()) return;
    backend_.limit({.from = definition().may_drop() ? routing.expert_of : routing.chosen,
                    .to = routing.expert_of,
                    .score = routing.score,
                    .scratch = scratch_,
                    .top_k = shape_.slots_per_token(),
                    .experts = shape_.experts,
                    .group = group_,
                    .rows = rows_,
                    .policy = rule_.capacity.policy,
                    .second_by_chance = rule_.second_by_chance,
                    .chance_key = noise_key(rule_.seed, routing.step),
                    .first_token = first_token_,
                    .by_expert = definition().rule().all_experts});
  }
  void backward(const TensorView& x, const TensorView& weight, const Routing& routing, const TensorView& dx,
                const TensorView& dweight) override {
    gate_->backward(x, weight, routing, dx, dweight);
  }

 private:
  Backend& backend_;
  Shape shape_;
  std::int64_t first_token_;
  DropRule rule_;
  std::int64_t group_, rows_;  ///< tokens of a group; rows that an expert takes of it
  std::unique_ptr<Gate> gate_;
  std::span<std::int32_t> scratch_;
  Buffer storage_;
};

}  // namespace

double DropRule::bytes(std::int64_t slots) const {
  if (!drops()) return 0;
  const bool by_score =
      second_by_chance || capacity.policy == DropPolicy::probs || capacity.policy == DropPolicy::priority;
  return (by_score ? 12.0 : 8.0) * static_cast<double>(slots);
}

DropRule drop_rule_of(const GateEntry& entry, const GateOptions& options) {
  return {options.capacity, entry.second_by_chance, options.seed};
}

std::vector<std::int32_t> limited(const DropRule& rule, const Shape& shape, int step,
                                  std::span<const std::int32_t> expert_of, std::span<const float> score) {
  const Capacity& capacity = rule.capacity;
  std::vector<std::int32_t> kept(expert_of.begin(), expert_of.end());
  if (rule.second_by_chance) drop_by_chance(noise_key(rule.seed, step), shape.slots_per_token(), score, kept);
  if (kept.empty() || !capacity.limits()) return kept;
  const std::int64_t of_group = capacity.group_of(shape) * shape.slots_per_token(),
                     rows = capacity.rows_of(shape);
  for (std::int64_t first = 0; first < std::ssize(kept); first += of_group) {
    std::vector<std::vector<std::int64_t>> slots(static_cast<std::size_t>(shape.experts));
    for (std::int64_t slot = first; slot < first + of_group; ++slot)
      if (kept[slot] >= 0) slots[kept[slot]].push_back(slot);
    for (auto& of_expert : slots) {
      std::stable_sort(of_expert.begin(), of_expert.end(), [&](std::int64_t a, std::int64_t b) {
        return order_of(capacity, shape, score, a) < order_of(capacity, shape, score, b);
      });
      for (std::int64_t i = rows; i < std::ssize(of_expert); ++i) kept[of_expert[i]] = -1;
    }
  }
  return kept;
}

std::unique_ptr<Gate> limit_gate(const GateArgs& args, const DropRule& rule, std::unique_ptr<Gate> gate) {
  return std::make_unique<LimitedGate>(args, rule, std::move(gate));
}

}  // namespace moebench
