// SPDX-License-Identifier: Apache-2.0
// One layer of the FastMoE paper (arXiv 2103.13262, algorithm 1 and section 3): read forward() first.
#include "layer/layer.h"

#include <algorithm>

#include "base/error.h"
#include "layer/gates/capacity.h"
#include "layer/run_stage.h"

namespace moebench {
namespace {

std::unique_ptr<Gate> make_gate(const GateEntry& entry, const GateArgs& args) {
  auto gate = entry.make(args, entry.define(args.shape, args.options));
  const DropRule rule = drop_rule_of(entry, args.options);
  if (!rule.drops()) return gate;
  return limit_gate(args, rule, std::move(gate));
}

/// Of the tokens of a rank.
std::int64_t most_rows(const Shape& shape, int rank, const LayerOptions& options) {
  const std::int64_t tokens = shape.tokens_of(rank), slots = tokens * shape.slots_per_token();
  const Capacity& capacity = options.gate_options.capacity;
  if (!capacity.limits() || tokens == 0) return slots;
  return std::min(slots, tokens / capacity.group_of(shape) * shape.experts * capacity.rows_of(shape));
}

}  // namespace

void Layer::forward(const TensorView& x, const TensorView& y, Trace& trace, int step) {
  routing_.step = step;
  gate_->begin_step(step);
  run_stage(Stage::gate, Pass::forward, trace,  // which experts, with what weights
            [&] { gate_->forward(x, parameters_.value(Parameter::gate), routing_); });
  dispatcher_->dispatch(x, routing_, trace);  // rows to their experts
  if (shared_) shared_->forward(x, parameters_.shared_values(), trace);
  for (int i = 0; i < dispatcher_->batches(Pass::forward); ++i) {  // one, unless rows travel meanwhile
    ExpertsForward batch = dispatcher_->batch(i, trace);
    batch.weights = parameters_.values();
    run_stage(Stage::experts, Pass::forward, trace, [&] { engine_->forward(batch); });
  }
  dispatcher_->combine(routing_, y, trace);  // outputs back, weighted sum per token
  if (shared_) shared_->add_to(y, Pass::forward, trace);
}

void Layer::backward(const TensorView& x, const TensorView& dy, const TensorView& dx, Trace& trace) {
  dispatcher_->dispatch_gradient(dy, routing_, trace);
  for (int i = 0; i < dispatcher_->batches(Pass::backward); ++i) {
    ExpertsBackward batch = dispatcher_->batch_gradient(i, routing_, trace);
    batch.forward.weights = parameters_.values();
    batch.gradients = parameters_.gradients();
    run_stage(Stage::experts, Pass::backward, trace, [&] { engine_->backward(batch); });
  }
  if (shared_) shared_->backward(x, dy, parameters_.shared_values(), parameters_.shared_gradients(), trace);
  dispatcher_->combine_gradient(routing_, dx, trace);
  if (shared_) shared_->add_to(dx, Pass::backward, trace);
  run_stage(Stage::gate, Pass::backward, trace, [&] {
    gate_->backward(x, parameters_.value(Parameter::gate), routing_, dx,
                    parameters_.gradient(Parameter::gate));
  });
}

void Layer::sync(Trace& trace) {
  run_stage(Stage::sync, Pass::sync, trace, [&] {
    for (ParameterTensors& parameter : parameters_.all())
      if (Comm* comm = groups_.of(parameter.spec.tag)) comm->all_reduce(parameter.gradient);
  });
}

Layer::Layer(const Shape& shape, Groups& groups, Backend& backend, const LayerOptions& options)
    : shape_(shape),
      groups_(groups),
      backend_(backend),
      engine_name_(options.engine),
      engine_(backend.make_engine(
          options.engine, engine_shape_of(shape, options.backward, options.streams, options.exchange))),
      parameters_(shape, groups.world().rank(), backend, options.backward),
      gate_entry_(*options.gate),
      gate_options_(options.gate_options),
      gate_(make_gate(gate_entry_, {.shape = shape,
                                    .options = gate_options_,
                                    .first_token = shape.first_token(groups.world().rank()),
                                    .tokens = shape.tokens_of(groups.world().rank()),
                                    .bias_steps = options.bias_steps,
                                    .backend = backend})),
      routing_(shape, shape.tokens_of(groups.world().rank()), backend.memory(), may_drop()),
      shared_(shape.shared_experts == 0
                  ? nullptr
                  : std::make_unique<SharedExperts>(shape, shape.tokens_of(groups.world().rank()), backend,
                                                    options.backward)),
      dispatcher_(make_dispatcher(options.exchange, {.shape = shape,
                                                     .rank = groups.world().rank(),
                                                     .tokens = shape.tokens_of(groups.world().rank()),
                                                     .rows = most_rows(shape, groups.world().rank(), options),
                                                     .ranks = groups.expert_parallel(),
                                                     .backend = backend,
                                                     .engine = *engine_,
                                                     .backward = options.backward,
                                                     .overlap = options.overlap,
                                                     .comm_sms = options.comm_sms})) {
  MB_ASSERT(shape.slots == slots_of(gate_entry_, shape));
  if (!options.replays) return;
  auto replayed =
      std::make_unique<ReplayedGate>(GateArgs{.shape = shape,
                                              .options = gate_options_,
                                              .first_token = shape.first_token(groups.world().rank()),
                                              .tokens = shape.tokens_of(groups.world().rank()),
                                              .backend = backend},
                                     std::move(gate_));
  replayed_ = replayed.get();
  gate_ = std::move(replayed);
}

void Layer::prepare_replay(int step, const TensorView& x, std::span<const std::int32_t> experts) {
  MB_ASSERT(replayed_);
  const ScopedMemoryTag scope(backend_.memory(), MemoryTag::inputs);
  replayed_->prepare(step, x, parameters_.value(Parameter::gate), routing_, experts);
}

std::vector<std::int64_t> Layer::count_choices(int step, const TensorView& x, std::span<const float> bias) {
  gate_->set_bias(step, bias);
  routing_.step = step;
  gate_->begin_step(step);
  gate_->forward(x, parameters_.value(Parameter::gate), routing_);
  std::vector<std::int32_t> chosen(routing_.chosen.size());
  backend_.memory().copy_to_host(chosen.data(), routing_.chosen.data(), routing_.chosen.size_bytes());
  std::vector<std::int64_t> choices(static_cast<std::size_t>(shape_.experts));
  for (const std::int32_t expert : chosen) ++choices[static_cast<std::size_t>(expert)];
  return choices;
}

StageCost Layer::cost(const RankLoad& load, Stage stage, Pass pass) const {
  if (stage != Stage::gate) return cost_of(shape_, load, stage, pass);
  StageCost cost = gate_entry_.cost(shape_, load, pass);
  if (pass == Pass::backward && loss_options().any())  // reads the logits, and with a count the choice
    cost.bytes +=
        4.0 * static_cast<double>(load.tokens) *
        static_cast<double>(shape_.experts + (loss_options().aux > 0 ? shape_.slots_per_token() : 0));
  if (pass == Pass::forward) cost.bytes += drop_rule().bytes(load.tokens * shape_.slots_per_token());
  return cost;
}

Drops Layer::drops() const {
  std::vector<std::int32_t> expert_of(routing_.expert_of.size());
  std::vector<float> score(routing_.score.size());
  backend_.memory().copy_to_host(expert_of.data(), routing_.expert_of.data(),
                                 routing_.expert_of.size_bytes());
  backend_.memory().copy_to_host(score.data(), routing_.score.data(), routing_.score.size_bytes());
  return count_drops(shape_, expert_of, score);
}

GateLossValues Layer::losses() const {
  std::vector<std::int32_t> chosen(routing_.chosen.size());
  std::vector<float> logits(routing_.logits.size());
  backend_.memory().copy_to_host(chosen.data(), routing_.chosen.data(), routing_.chosen.size_bytes());
  backend_.memory().copy_to_host(logits.data(), routing_.logits.data(), routing_.logits.size_bytes());
  return GateLosses(gate(), shape_, gate_options_.losses)
      .values(std::vector<double>(logits.begin(), logits.end()), chosen);
}

std::string Layer::why_no_graph() const {
  if (std::string why = dispatcher_->why_no_graph(); !why.empty()) return why;
  return engine_->traits().waits_for_sizes ? cat("engine ", engine_name_, " waits for the device")
                                           : std::string();
}

}  // namespace moebench
