// SPDX-License-Identifier: Apache-2.0
#include "layer/gates/gate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/bump_allocator.h"
#include "base/text.h"
#include "layer/gates/entries.h"
#include "layer/gates/loss.h"

namespace moebench {
namespace {

constexpr const GateEntry* kGates[] = {
    &kTopkGate,   &kSoftmaxTopkGate, &kSigmoidGate, &kSqrtsoftplusGate, &kSwitchGate,
    &kGshardGate, &kNoisyTopkGate,   &kForcedGate,  &kExpertChoiceGate, &kSinkhornGate};

class RuleGate final : public Gate {
 public:
  RuleGate(const GateArgs& args, std::unique_ptr<GateDefinition> definition)
      : backend_(args.backend),
        top_k_(args.shape.slots_per_token()),
        definition_(std::move(definition)),
        rule_(definition_->rule()),
        seed_(args.options.seed),
        losses_(loss_factors(args.options.losses, args.shape)),
        storage_(allocate_together(backend_.memory(), [&](BumpAllocator& allocator) {
          const std::int64_t groups = losses_.group > 0 ? args.tokens / losses_.group : 0;
          allocator.allocate(counts_, groups * args.shape.experts);
          if (!rule_.balance.any() || args.tokens == 0) return;
          const std::int64_t group = rule_.balance.group, experts = args.shape.experts;
          allocator.allocate(offsets_, args.tokens / group * experts);
          allocator.allocate(balance_scratch_, balance_scratch(args.tokens, group, experts));
        })) {
    rule_.noise.first = args.first_token * args.shape.experts;
    rule_.balance.offsets = offsets_.data(), rule_.balance.scratch = balance_scratch_.data();
    if (!args.options.biased()) return;
    bias_ = Tensor(backend_.memory(), DType::fp32, args.bias_steps, args.shape.experts);
    for (int step = 0; step < args.bias_steps; ++step)
      backend_.fill(bias_.view().slice(step, 1), args.options.bias_field(), 0);
    rule_.bias = bias_.view().as<float>();
    if (args.options.bias_update > 0) biases_.resize(static_cast<std::size_t>(args.bias_steps));
  }

  const GateDefinition& definition() const override { return *definition_; }

  void set_bias(int step, std::span<const float> bias) override {
    biases_[static_cast<std::size_t>(step)].assign(bias.begin(), bias.end());
    backend_.upload(bias_.view().slice(step, 1), bias);
  }
  void begin_step(int step) override {
    if (biases_.empty()) return;
    const std::size_t at = static_cast<std::size_t>(step) % biases_.size();
    if (!biases_[at].empty()) definition_->set_bias(biases_[at]);
    rule_.bias = bias_.view().slice(static_cast<std::int64_t>(at), 1).as<float>();
  }

  void forward(const TensorView& x, const TensorView& weight, const Routing& routing) override {
    rule_.noise.key = noise_key(seed_, routing.step);
    backend_.gate(GateForward{.x = x,
                              .weight = weight,
                              .logits = routing.logits,
                              .expert_of = routing.chosen,
                              .score = routing.score,
                              .top_k = top_k_,
                              .rule = rule_});
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
                               .rule = rule_,
                               .logits = routing.logits,
                               .losses = losses_,
                               .counts = counts_});
  }

 private:
  Backend& backend_;
  std::int64_t top_k_;
  std::unique_ptr<GateDefinition> definition_;
  Tensor bias_;                             ///< [bias_steps, E] if experts have one
  std::vector<std::vector<float>> biases_;  ///< the same, as far as set; empty unless the bias moves
  GateRule rule_;
  std::uint64_t seed_;
  LossFactors losses_;
  std::span<std::int32_t> counts_;
  std::span<float> offsets_, balance_scratch_;  ///< of GateBalance
  Buffer storage_;
};

}  // namespace

SpreadScores GateDefinition::spread(std::span<const double> logits) const {
  SpreadScores spread{{logits.begin(), logits.end()}, std::vector<double>(logits.size(), 1.0)};
  const double most = *std::max_element(logits.begin(), logits.end());
  for (double& score : spread.scores) score = std::exp(score - most);
  const double sum = std::reduce(spread.scores.begin(), spread.scores.end());
  for (double& score : spread.scores) score /= sum;
  return spread;
}

std::uint64_t noise_key(std::uint64_t seed, int step) {
  constexpr std::uint64_t kGateNoise = 0x6E6F697365;  // no Field of the workload
  return mix(mix(seed, kGateNoise), static_cast<std::uint64_t>(step));
}

std::unique_ptr<Gate> make_rule_gate(const GateArgs& args, std::unique_ptr<GateDefinition> definition) {
  return std::make_unique<RuleGate>(args, std::move(definition));
}

StageCost gate_cost_with_logits(const Shape& shape, const RankLoad& load, Pass pass) {
  StageCost cost = gate_cost(shape, load, pass);
  cost.bytes += 4.0 * static_cast<double>(load.tokens) * static_cast<double>(shape.experts);
  return cost;
}

std::string why_not_plain(const Shape&, const GateOptions& options) {
  constexpr std::string_view kValid = "; valid: --gate sigmoid or sqrtsoftplus";
  if (options.groups.limit()) return cat("this gate has no groups", kValid);
  if (options.biased()) return cat("this gate has no bias", kValid);
  if (options.scale != 1) return cat("this gate has no scale", kValid);
  if (options.sinkhorn_iterations != kSinkhornIterations)
    return "this gate has no Sinkhorn iterations; valid: --gate sinkhorn";
  return {};
}

std::string why_not_affinity(const Shape& shape, const GateOptions& options) {
  constexpr std::int64_t kMostExperts = 1024;  // of a warp's registers
  if (options.sinkhorn_iterations != kSinkhornIterations)
    return why_not_plain(shape, {.sinkhorn_iterations = options.sinkhorn_iterations});
  if ((options.groups.limit() || options.biased()) && shape.experts > kMostExperts)
    return cat("groups and biases are for at most ", kMostExperts, " experts, not ", shape.experts);
  return why_not(options.groups, shape, options.biased());
}

std::int64_t slots_of(const GateEntry& gate, const Shape& shape) {
  return gate.all_experts ? shape.experts : 0;
}

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
