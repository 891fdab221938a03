// SPDX-License-Identifier: Apache-2.0
// The MoE layer as a subject.
#include <algorithm>
#include <optional>

#include "backends/peer_kernels.h"
#include "bench/inputs.h"
#include "bench/start_barrier.h"
#include "bench/subjects.h"
#include "comm/stand_in.h"
#include "layer/check_memory.h"
#include "layer/layer.h"
#include "layer/moving_bias.h"
#include "layer/verify.h"
#include "moe/random_experts.h"
#include "trace/trace_selection.h"

namespace moebench {
namespace {

class LayerSubject final : public Subject {
 public:
  LayerSubject(const Case& bench_case, Bench bench)
      : case_(bench_case),
        bench_(bench),
        backward_(bench_case.passes != PassSet::fwd),
        workload_(workload_of(bench_case)),
        others_(rows_of_others(bench_case, workload_)),
        groups_(groups_of(bench)),
        layer_(bench_case.shape, groups_, bench.backend,
               {.engine = bench_case.engine,
                .backward = backward_,
                .streams = bench_case.streams,
                .exchange = bench_case.exchange,
                .overlap = bench_case.overlap,
                .comm_sms = bench_case.comm_sms,
                .gate = &find_gate(bench_case.gate),
                .gate_options = bench_case.gate_options,
                .bias_steps = bias_steps_of(bench_case, bench.backend.device().cache_bytes),
                .replays = replays_routing(bench_case)}) {
    const int rank = groups_.world().rank();
    layer_.load(workload_);
    if (case_.as_rank < 0) {
      const ScopedMemoryTag peers(bench.backend.memory(), MemoryTag::workspace);
      start_.emplace(groups_.world(), bench.backend);
    }
    const int sets = input_sets_of(bench_case, bench.backend.device().cache_bytes);
    inputs_ = make_inputs(workload_, rank, backward_, sets, bench.backend);
    if (layer_.replays()) prepare_replay();
    if (bench_case.gate_options.bias_update > 0) move_bias();
    const ScopedMemoryTag scope(bench.backend.memory(), MemoryTag::inputs);
    y_ = Tensor(bench.backend.memory(), case_.shape.dtype, case_.shape.tokens_of(rank), case_.shape.hidden);
    if (backward_)
      dx_ = Tensor(bench.backend.memory(), case_.shape.dtype, y_.view().rows, case_.shape.hidden);
  }

  void start_together() override {
    if (start_) start_->queue();
  }
  void run(Pass pass, int step, Trace& trace) override {
    const std::size_t set = static_cast<std::size_t>(step) % inputs_.size();
    const InputSet& input = inputs_[set];
    if (!others_.empty()) received_ = others_[set % others_.size()];
    switch (pass) {
      case Pass::forward:
        return layer_.forward(input.x, y_, trace, static_cast<int>(set));
      case Pass::backward:
        return layer_.backward(input.x, input.dy, dx_, trace);
      case Pass::sync:
        return layer_.sync(trace);
    }
  }
  int input_sets() const override { return static_cast<int>(inputs_.size()); }
  int routing_steps() const override {
    return routing_steps_of(case_) > 0 ? routing_steps_of(case_) : input_sets();
  }
  std::optional<Choice> choice() const override {
    const Routing& routing = layer_.routing();
    Choice choice{std::vector<std::int32_t>(routing.expert_of.size()),
                  std::vector<float>(routing.score.size())};
    Memory& memory = bench_.backend.memory();
    memory.copy_to_host(choice.experts.data(), routing.expert_of.data(), routing.expert_of.size_bytes());
    memory.copy_to_host(choice.scores.data(), routing.score.data(), routing.score.size_bytes());
    return choice;
  }
  const StepPlans* plans() const override { return workload_.plans(); }
  void settle() override { layer_.settle(); }
  bool waits_for_device() const override { return layer_.waits_for_device() || sync_waits(case_); }

  std::string why_no_graph() override {
    const std::string why = layer_.why_no_graph();
    return why.empty() ? why_no_graph_of_sync(case_) : why;
  }
  std::vector<TensorView> outputs() override {
    std::vector<TensorView> outputs{y_};
    if (!backward_) return outputs;
    outputs.push_back(dx_);
    for (const ParameterTensors& parameter : layer_.parameters().all()) outputs.push_back(parameter.gradient);
    return outputs;
  }

  CheckRecord check(CheckMode mode) override { return check_step(mode, 0, false); }
  CheckRecord recheck(CheckMode mode, int step) override { return check_step(mode, step, true); }

  StageCost cost(Pass pass) const override {
    const RankLoad load = layer_.load();
    if (pass == Pass::sync) return cost_of(case_.shape, load, pass);
    StageCost total;
    for (const Stage stage : kForwardStages) total += cost(load, stage, pass);
    total.overlaps = layer_.overlaps(Stage::dispatch, pass);
    return total;
  }
  std::vector<StageWork> stages() const override {
    const RankLoad load = layer_.load();
    std::vector<StageWork> work;
    const auto add = [&](Stage stage, Pass pass) {
      if (!layer_.has(stage)) return;
      work.push_back({stage, pass, layer_.fused_into(stage, pass), cost(load, stage, pass),
                      layer_.overlaps(stage, pass)});
    };
    for (const Stage stage : kForwardStages) add(stage, Pass::forward);
    if (backward_)
      for (const Stage stage : kBackwardStages) add(stage, Pass::backward);
    if (case_.passes == PassSet::step) add(Stage::sync, Pass::sync);
    return work;
  }
  std::vector<std::int64_t> rows_of_experts() const override { return layer_.rows_of_experts(); }
  std::optional<Drops> drops() const override {
    return layer_.may_drop() ? std::optional(layer_.drops()) : std::nullopt;
  }
  std::optional<GateLossValues> losses() const override {
    return layer_.loss_options().any() ? std::optional(layer_.losses()) : std::nullopt;
  }

 private:
  static Workload workload_of(const Case& bench_case) {
    WorkloadOptions options{.planted = !replays_routing(bench_case), .steps = routing_steps_of(bench_case)};
    const RoutingDistribution& routing = bench_case.routing;
    if (routing.is_trace())
      options.draw = placed(draw_trace(parse_selection(routing.trace), bench_case.shape, bench_case.seed),
                            bench_case.shape, routing, bench_case.seed, options.steps);
    return Workload(bench_case.shape, routing, bench_case.seed, options);
  }

  /// What the absent ranks of --as-rank send in each routing step, in the first one where input sets differ only by
  /// chance; nothing if all ranks are here.
  static std::vector<std::vector<std::int64_t>> rows_of_others(const Case& bench_case,
                                                               const Workload& workload) {
    std::vector<std::vector<std::int64_t>> steps;
    if (bench_case.as_rank < 0) return steps;
    const Shape& shape = bench_case.shape;
    const Workload* planted = bench_case.routing.is_random() ? nullptr : &workload;
    for (int step = 0; step < (planted ? std::max(routing_steps_of(bench_case), 1) : 1); ++step)
      steps.push_back(rows_received(shape, bench_case.as_rank, {shape, bench_case.seed, planted, step}));
    return steps;
  }

  Groups groups_of(Bench bench) {
    const Shape& shape = case_.shape;
    if (case_.as_rank < 0)
      return connect(bench, [&](auto comm) { return Groups(std::move(comm), shape.ep); });
    Memory& memory = bench.backend.memory();
    return {make_stand_in_comm(case_.as_rank, shape.ranks, memory, received_),
            make_stand_in_comm(case_.as_rank % shape.ep, shape.ep, memory, received_), nullptr};
  }

  static int bias_steps_of(const Case& bench_case, std::size_t cache_bytes) {
    if (bench_case.gate_options.bias_update == 0) return 1;
    const int steps = routing_steps_of(bench_case);
    return steps > 0 ? steps : input_sets_of(bench_case, cache_bytes);
  }

  void move_bias() {
    std::vector<TensorView> inputs;
    for (int step = 0; step < routing_steps(); ++step)
      inputs.push_back(inputs_[static_cast<std::size_t>(step)].x);
    moebench::move_bias(layer_, case_.gate_options, bench_.ranks, inputs);
  }

  void prepare_replay() {
    const Shape& shape = case_.shape;
    const int rank = groups_.world().rank();
    std::vector<std::int32_t> experts;
    for (int set = 0; set < input_sets(); ++set) {
      experts.clear();
      for (std::int64_t token = shape.first_token(rank); token < shape.first_token(rank + 1); ++token)
        for (const std::int64_t expert : workload_.target_experts(set, token))
          experts.push_back(static_cast<std::int32_t>(expert));
      layer_.prepare_replay(set, inputs_[static_cast<std::size_t>(set)].x, experts);
    }
  }

  /// As the iterations left weights and inputs, or fresh ones.
  CheckRecord check_step(CheckMode mode, int step, bool as_it_is) {
    VerifyOptions options{.full = mode == CheckMode::full, .backward = backward_, .step = step};
    if (mode == CheckMode::quick) options.second_way_to = case_.engine;
    options.as_it_is = as_it_is;
    if (const InputSet& input = inputs_[static_cast<std::size_t>(step)]; as_it_is)
      options.x = input.x, options.dy = backward_ ? input.dy.view() : TensorView{};
    return record_of(mode, verify(layer_, workload_, bench_.ranks, bench_.backend, bench_.pool, options));
  }

  /// None of its own where the engine does it on the way: `experts` reads and writes rows in any case.
  StageCost cost(const RankLoad& load, Stage stage, Pass pass) const {
    return layer_.fused_into(stage, pass) ? StageCost{} : layer_.cost(load, stage, pass);
  }

  Case case_;
  Bench bench_;
  bool backward_;
  Workload workload_;
  std::vector<std::vector<std::int64_t>> others_;  ///< with --as-rank: [EP · e] of each routing step
  std::vector<std::int64_t> received_;             ///< of the current one
  Groups groups_;
  Layer layer_;
  std::optional<StartBarrier> start_;
  std::vector<InputSet> inputs_;
  Tensor y_, dx_;
};

/// Where slots go, apart from what was chosen, and what the backend works in.
double memory_of(const Capacity& capacity, const Shape& shape) {
  if (!capacity.limits()) return 0;
  const std::int64_t tokens = shape.tokens_of(shape.ranks - 1);
  return 4 *
         static_cast<double>(tokens * shape.slots_per_token() + capacity_scratch(capacity, shape, tokens));
}

/// With as many rows per token as its experts take, where they choose.
Shape with_rows(Shape shape, const Capacity& capacity) {
  const std::int64_t group = capacity.group_of(shape);
  if (shape.slots > 0 && group > 0)
    shape.top_k = (capacity.rows_of(shape) * shape.experts + group - 1) / group;
  return shape;
}

/// The most rows that the experts of a rank get: counted from some tokens of some steps if the routing is drawn. A gate
/// that chooses by itself is taken to send a rank a quarter more than its share.
double max_rows_of(const Case& bench_case, const Shape& shape) {
  constexpr std::int64_t kTokens = 4096;
  constexpr int kSteps = 4;
  const double share = static_cast<double>(shape.tokens_of(shape.ranks - 1) * shape.top_k);
  if (shape.ep == 1 || shape.tokens == 0) return share;
  const double most = share * shape.ep;
  if (!why_not_drawn(bench_case.routing).empty()) return most;
  const std::int64_t tokens = std::min(shape.tokens, kTokens);
  Shape drawn_of = shape;
  if (bench_case.routing.placement == Placement::eplb) drawn_of.tokens = tokens;  // a plan counts all of them
  const auto draw = make_draw(drawn_of, bench_case.routing, bench_case.seed, routing_steps_of(bench_case));
  if (!draw) return std::min(most, 1.25 * share);
  const std::int64_t apart = drawn_of.tokens / tokens;
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(shape.top_k));
  std::int64_t fullest = 0;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.ep));
    for (std::int64_t i = 0; i < tokens; ++i) {
      draw->choose(step, i * apart, chosen);
      for (const std::int64_t expert : chosen) ++rows[expert / shape.experts_per_rank()];
    }
    fullest = std::max(fullest, *std::max_element(rows.begin(), rows.end()));
  }
  const double drawn = static_cast<double>(fullest) / static_cast<double>(tokens * shape.top_k);
  return std::min(most, 1.1 * drawn * most);
}

/// Of exchange direct: the block that the peers store into.
double memory_of_peers(const Case& bench_case) {
  const Shape& shape = bench_case.shape;
  if (shape.ep == 1 || bench_case.exchange != Exchange::direct) return 0;
  const std::size_t row = static_cast<std::size_t>(shape.hidden) * size_of(shape.dtype);
  return static_cast<double>(peer_layout(shape.ep, shape.experts, shape.tokens_of(shape.ranks - 1),
                                         shape.slots_per_token(), row, bench_case.overlap == Overlap::tile)
                                 .bytes);
}

MemoryEstimate estimate(const Case& bench_case, const EstimateArgs& args) {
  const Shape shape = with_rows(bench_case.shape, bench_case.gate_options.capacity);
  const bool backward = bench_case.passes != PassSet::fwd;
  const double slots = static_cast<double>(shape.tokens_of(shape.ranks - 1) * shape.top_k),
               rows = max_rows_of(bench_case, shape);
  MemoryEstimate estimate = estimate_memory(shape, backward, args.input_sets, rows);
  const EngineTraits traits =
      args.backend.traits(bench_case.engine, engine_shape_of(shape, backward, bench_case.streams));
  estimate.activations += memory_of(bench_case.gate_options.capacity, bench_case.shape) +
                          traits.row_copies * rows * static_cast<double>(shape.hidden) * size_of(shape.dtype);
  if (replays_routing(bench_case)) estimate.inputs += 8.0 * args.input_sets * slots;  // experts and scores
  estimate.workspace += memory_of_peers(bench_case);
  const double staged = 4 * static_cast<double>(shape.tokens_of(shape.ranks - 1) * shape.hidden);
  estimate.host = staged;
  if (args.check == CheckMode::none || !bench_case.why_not_checked().empty()) return estimate;
  const CheckMemory check =
      check_memory(shape, backward, args.check == CheckMode::full, true, usable_cores());
  estimate.workspace += check.device;
  estimate.host = std::max(staged, check.host);
  return estimate;
}

/// Its gate, exchange and engine have been asked before.
std::string why_not_layer(const Case&, const Capabilities&) { return {}; }

}  // namespace

const SubjectEntry kLayerSubject{.kind = SubjectKind::layer,
                                 .has_experts = true,
                                 .make = make_subject_of<LayerSubject>,
                                 .estimate = estimate,
                                 .why_not = why_not_layer};

}  // namespace moebench
