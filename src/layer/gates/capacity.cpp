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
  const std::int64_t choice = slot % shape.top_k, token = slot / shape.top_k;
  switch (capacity.policy) {
    case DropPolicy::position:
      return {0, 0, token};
    case DropPolicy::probs:
      return {0, -double{score[slot]}, token};
    case DropPolicy::choice:
      return {choice, 0, token};
    case DropPolicy::priority:
      return {choice, -double{score[token * shape.top_k]}, token};
  }
  return {};
}

class LimitedGate final : public Gate {
 public:
  LimitedGate(const GateArgs& args, const Capacity& capacity, std::int64_t tokens, std::unique_ptr<Gate> gate)
      : backend_(args.backend),
        shape_(args.shape),
        capacity_(capacity),
        gate_(std::move(gate)),
        storage_(allocate_together(args.backend.memory(), [&](BumpAllocator& allocator) {
          allocator.allocate(scratch_, capacity_scratch(capacity, args.shape, tokens));
        })) {}

  const GateDefinition& definition() const override { return gate_->definition(); }

  void forward(const TensorView& x, const TensorView& weight, const Routing& routing) override {
    gate_->forward(x, weight, routing);
    if (routing.expert_of.empty()) return;
    backend_.limit({.from = definition().may_drop() ? routing.expert_of : routing.chosen,
                    .to = routing.expert_of,
                    .score = routing.score,
                    .scratch = scratch_,
                    .top_k = shape_.top_k,
                    .experts = shape_.experts,
                    .group = capacity_.group_of(shape_),
                    .rows = capacity_.rows_of(shape_),
                    .policy = capacity_.policy});
  }
  void backward(const TensorView& x, const TensorView& weight, const Routing& routing, const TensorView& dx,
                const TensorView& dweight) override {
    gate_->backward(x, weight, routing, dx, dweight);
  }

 private:
  Backend& backend_;
  Shape shape_;
  Capacity capacity_;
  std::unique_ptr<Gate> gate_;
  std::span<std::int32_t> scratch_;
  Buffer storage_;
};

}  // namespace

std::vector<std::int32_t> limited(const Capacity& capacity, const Shape& shape,
                                  std::span<const std::int32_t> expert_of, std::span<const float> score) {
  std::vector<std::int32_t> kept(expert_of.begin(), expert_of.end());
  if (kept.empty()) return kept;
  const std::int64_t of_group = capacity.group_of(shape) * shape.top_k, rows = capacity.rows_of(shape);
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

std::unique_ptr<Gate> limit_gate(const GateArgs& args, const Capacity& capacity, std::int64_t tokens,
                                 std::unique_ptr<Gate> gate) {
  return std::make_unique<LimitedGate>(args, capacity, tokens, std::move(gate));
}

}  // namespace moebench
