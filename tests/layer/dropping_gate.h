// SPDX-License-Identifier: Apache-2.0
// A gate that drops: topk, whose slots are dropped by number, all of every fifth token and about a third of the rest.
#pragma once

#include "base/random.h"
#include "layer/gates/gate.h"

namespace moebench {

/// Whether slot (token, choice) is dropped, by the token's number among those of all ranks.
inline bool is_dropped(std::int64_t token, std::int64_t choice) {
  return token % 5 == 0 || mix(41, static_cast<std::uint64_t>(token * 64 + choice)) % 3 == 0;
}

class DroppingDefinition final : public GateDefinition {
 public:
  explicit DroppingDefinition(const Shape& shape) : inner_(default_gate().define(shape, {})) {}
  GateRule rule() const override { return inner_->rule(); }
  std::vector<double> scores(std::span<const double> logits,
                             std::span<const std::int32_t> chosen) const override {
    return inner_->scores(logits, chosen);
  }
  GateSlopes slopes(std::span<const double> logits, std::span<const std::int32_t> chosen,
                    std::span<const double> scores) const override {
    return inner_->slopes(logits, chosen, scores);
  }
  bool may_drop() const override { return true; }

 private:
  std::unique_ptr<GateDefinition> inner_;
};

/// Drops on the host, so that it runs on every backend.
class DroppingGate final : public Gate {
 public:
  DroppingGate(const GateArgs& args, std::unique_ptr<GateDefinition> definition)
      : args_(args), inner_(make_rule_gate(args, std::move(definition))) {}
  const GateDefinition& definition() const override { return inner_->definition(); }
  void forward(const TensorView& x, const TensorView& weight, const Routing& routing) override {
    inner_->forward(x, weight, routing);
    Memory& memory = args_.backend.memory();
    std::vector<std::int32_t> experts(routing.chosen.size());
    args_.backend.synchronize();
    memory.copy_to_host(experts.data(), routing.chosen.data(), routing.chosen.size_bytes());
    const std::int64_t k = args_.shape.top_k;
    for (std::int64_t slot = 0; slot < std::ssize(experts); ++slot)
      if (is_dropped(args_.first_token + slot / k, slot % k)) experts[static_cast<std::size_t>(slot)] = -1;
    memory.copy_from_host(routing.expert_of.data(), experts.data(), routing.expert_of.size_bytes());
  }
  void backward(const TensorView& x, const TensorView& weight, const Routing& routing, const TensorView& dx,
                const TensorView& dweight) override {
    inner_->backward(x, weight, routing, dx, dweight);
  }

 private:
  GateArgs args_;
  std::unique_ptr<Gate> inner_;
};

inline const GateEntry kDroppingGate{
    .name = "dropping",
    .help = "",
    .define = [](const Shape& shape, const GateOptions&) -> std::unique_ptr<GateDefinition> {
      return std::make_unique<DroppingDefinition>(shape);
    },
    .make = [](const GateArgs& args, std::unique_ptr<GateDefinition> definition) -> std::unique_ptr<Gate> {
      return std::make_unique<DroppingGate>(args, std::move(definition));
    },
    .cost = gate_cost,
    .why_not = why_not_plain};

}  // namespace moebench
