// SPDX-License-Identifier: Apache-2.0
#include "layer/gates/gate.h"

#include "base/text.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

constexpr const GateEntry* kGates[] = {&kTopkGate, &kSoftmaxTopkGate, &kSigmoidGate, &kSqrtsoftplusGate};

class RuleGate final : public Gate {
 public:
  RuleGate(const GateArgs& args, std::unique_ptr<GateDefinition> definition)
      : backend_(args.backend), top_k_(args.shape.top_k), definition_(std::move(definition)) {}

  const GateDefinition& definition() const override { return *definition_; }

  void forward(const TensorView& x, const TensorView& weight, const Routing& routing) override {
    backend_.gate(GateForward{.x = x,
                              .weight = weight,
                              .logits = routing.logits,
                              .expert_of = routing.chosen,
                              .score = routing.score,
                              .top_k = top_k_,
                              .rule = definition_->rule()});
  }

  void backward(const TensorView& x, const TensorView& weight, const Routing& routing, const TensorView& dx,
                const TensorView& dweight) override {
    backend_.gate(GateBackward{.x = x,
                               .weight = weight,
                               .expert_of = routing.chosen,
                               .score = routing.score,
                               .dscore = routing.dscore,
                               .dlogits = routing.dlogits,
                               .dx = dx,
                               .dweight = dweight,
                               .top_k = top_k_,
                               .rule = definition_->rule(),
                               .logits = routing.logits});
  }

 private:
  Backend& backend_;
  std::int64_t top_k_;
  std::unique_ptr<GateDefinition> definition_;
};

}  // namespace

std::unique_ptr<Gate> make_rule_gate(const GateArgs& args, std::unique_ptr<GateDefinition> definition) {
  return std::make_unique<RuleGate>(args, std::move(definition));
}

StageCost gate_cost_with_logits(const Shape& shape, const RankLoad& load, Pass pass) {
  StageCost cost = gate_cost(shape, load, pass);
  cost.bytes += 4.0 * static_cast<double>(load.tokens) * static_cast<double>(shape.experts);
  return cost;
}

std::string any_shape(const Shape&) { return {}; }

std::span<const GateEntry* const> gates() { return kGates; }

std::vector<std::string> gate_names() {
  std::vector<std::string> names;
  for (const GateEntry* gate : kGates) names.emplace_back(gate->name);
  return names;
}

const GateEntry& find_gate(std::string_view word) {
  for (const GateEntry* gate : kGates)
    if (gate->name == word) return *gate;
  throw_unknown("gate", word, gate_names());
}

const GateEntry& default_gate() { return kTopkGate; }

}  // namespace moebench
