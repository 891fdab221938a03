// SPDX-License-Identifier: Apache-2.0
// The dense network of the same active FLOPs as a subject.
#include "base/text.h"
#include "bench/inputs.h"
#include "bench/subjects.h"
#include "layer/check_memory.h"
#include "layer/gradient_rows.h"
#include "layer/oracle.h"
#include "layer/verify.h"

namespace moebench {
namespace {

/// The engine that runs it.
constexpr std::string_view kDenseEngine = "loop";

/// The layer's shape with one expert that every token takes, K times as wide and as wide again as its shared experts: the
/// same active FLOPs without a gate.
Shape dense_shape(Shape shape) {
  shape.shared_experts += shape.top_k;
  return shared_shape(shape);
}

/// One dense network on all tokens of the rank, by the engine `loop` with a single expert.
class DenseSubject final : public Subject {
 public:
  DenseSubject(const Case& bench_case, Bench bench)
      : case_(bench_case),
        shape_(dense_shape(bench_case.shape)),
        bench_(bench),
        backward_(bench_case.passes != PassSet::fwd),
        workload_(shape_, {}, bench_case.seed),
        parameters_(shape_, bench.ranks.rank(), bench.backend, backward_),
        engine_(bench.backend.make_engine(kDenseEngine, {.hidden = shape_.hidden,
                                                         .ffn = shape_.ffn,
                                                         .experts = 1,
                                                         .activation = shape_.activation,
                                                         .bias = shape_.bias,
                                                         .dtype = shape_.dtype,
                                                         .backward = backward_})),
        offsets_(bench.backend.memory(), 2 * sizeof(std::int32_t)),
        comm_(connect(bench, [](auto comm) { return comm; })) {
    Memory& memory = bench.backend.memory();
    const std::int64_t tokens = shape_.tokens_of(bench.ranks.rank());
    const std::int32_t offsets[] = {0, static_cast<std::int32_t>(tokens)};
    memory.copy_from_host(offsets_.data(), offsets, sizeof offsets);
    host_offsets_ = {0, tokens};
    parameters_.load(workload_, bench.backend);
    engine_->reserve(tokens);
    const int sets = input_sets_of(bench_case, bench.backend.device().cache_bytes);
    inputs_ = make_inputs(workload_, bench.ranks.rank(), backward_, sets, bench.backend);
    const ScopedMemoryTag scope(memory, MemoryTag::inputs);
    y_ = Tensor(memory, shape_.dtype, tokens, shape_.hidden);
    if (backward_) dx_ = Tensor(memory, shape_.dtype, tokens, shape_.hidden);
  }

  void run(Pass pass, int step, Trace&) override {
    const InputSet& input = inputs_[static_cast<std::size_t>(step) % inputs_.size()];
    const ExpertsForward forward{.x = input.x,
                                 .offsets = {offsets_.as<std::int32_t>(), 2},
                                 .host_offsets = host_offsets_,
                                 .weights = parameters_.values(),
                                 .out = y_};
    if (pass == Pass::forward) engine_->forward(forward);
    if (pass == Pass::backward)
      engine_->backward(
          {.forward = forward, .dout = input.dy, .dx = dx_, .gradients = parameters_.gradients()});
    if (pass == Pass::sync) sync();
  }
  int input_sets() const override { return static_cast<int>(inputs_.size()); }
  bool waits_for_device() const override { return sync_waits(case_); }
  std::string why_no_graph() override { return why_no_graph_of_sync(case_); }
  std::vector<TensorView> outputs() override {
    std::vector<TensorView> outputs{y_};
    if (!backward_) return outputs;
    outputs.push_back(dx_);
    for (const Parameter id : {Parameter::w1, Parameter::b1, Parameter::w2, Parameter::b2})
      if (const TensorView gradient = parameters_.gradient(id); gradient.data) outputs.push_back(gradient);
    return outputs;
  }

  CheckRecord check(CheckMode mode) override { return recheck(mode, 0); }
  CheckRecord recheck(CheckMode mode, int step) override {
    NoTrace trace;
    bench_.backend.poison(y_);
    run(Pass::forward, step, trace);
    if (backward_) {
      bench_.backend.poison(dx_);
      for (ParameterTensors& parameter : parameters_.all()) bench_.backend.poison(parameter.gradient);
      run(Pass::backward, step, trace);
      sync();
    }
    const Oracle oracle(workload_, step, all_to_one_expert(shape_.tokens), bench_.pool);
    std::vector<CheckItem> items;
    compare_tokens(oracle, mode, items);
    if (backward_) add_weight_gradients(oracle, mode, items);
    all_reduce_max(bench_.ranks, items);
    return record_of(mode, std::move(items));
  }

  StageCost cost(Pass pass) const override {
    if (pass == Pass::sync) return cost_of(shape_, {}, pass);
    return cost_of(shape_, {.tokens = y_.view().rows, .rows = y_.view().rows, .active_experts = 1},
                   Stage::experts, pass);
  }

 private:
  /// Every rank holds the whole network: its gradients are summed over all, as the oracle sums over all tokens.
  void sync() {
    if (comm_->size() == 1) return;
    for (ParameterTensors& parameter : parameters_.all())
      if (parameter.spec.id != Parameter::gate) comm_->all_reduce(parameter.gradient);
  }

  void compare_tokens(const Oracle& oracle, CheckMode mode, std::vector<CheckItem>& items) {
    const auto y = download(bench_.backend, y_), dx = download(bench_.backend, dx_);
    const std::int64_t h = shape_.hidden, first = shape_.first_token(bench_.ranks.rank());
    const std::int64_t tokens = y_.view().rows;
    auto sample = evenly_spaced(tokens, mode == CheckMode::full ? tokens : kSampledTokens);
    for (std::int64_t& token : sample) token += first;
    const auto expected = oracle.tokens(sample);
    RowErrors y_off(h, shape_.tokens), dx_off(h, shape_.tokens);
    for (std::size_t s = 0; s < sample.size(); ++s) {
      RowSums y_row, dx_row;
      for (std::int64_t i = 0; i < h; ++i) {
        y_row.add(y[(sample[s] - first) * h + i], expected[s].y[i]);
        if (backward_) dx_row.add(dx[(sample[s] - first) * h + i], expected[s].dx[i]);
      }
      const auto name = [&] { return cat("token ", sample[s]); };
      y_off.add(y_row, expected[s].y_terms, name);
      if (backward_) dx_off.add(dx_row, expected[s].dx_terms, name);
    }
    const double bound = error_bound(shape_.dtype);
    items.push_back({"y", y_off.largest(), bound, y_off.where()});
    if (backward_) items.push_back({"dx", dx_off.largest(), bound, dx_off.where()});
  }

  void add_weight_gradients(const Oracle& oracle, CheckMode mode, std::vector<CheckItem>& items) {
    const auto units = evenly_spaced(shape_.ffn, mode == CheckMode::full ? shape_.ffn : kSampledUnits);
    const auto gradient = [&](Parameter id) {
      const TensorView tensor = parameters_.gradient(id);
      return tensor.data ? download(bench_.backend, tensor) : std::vector<float>();
    };
    OracleGradients expected{oracle.units(0, units), {}, 0};
    if (shape_.bias) expected.db2 = oracle.db2(0), expected.db2_terms = oracle.db2_terms(0);
    GradientErrors errors(shape_);
    errors.add(
        0,
        {gradient(Parameter::w1), gradient(Parameter::b1), gradient(Parameter::w2), gradient(Parameter::b2)},
        units, expected);
    const double bound = error_bound(shape_.dtype);
    items.push_back({"dw1", errors.w1.largest(), bound, errors.w1.where()});
    items.push_back({"dw2", errors.w2.largest(), bound, errors.w2.where()});
  }

  Case case_;
  Shape shape_;
  Bench bench_;
  bool backward_;
  Workload workload_;
  Parameters parameters_;
  std::unique_ptr<Engine> engine_;
  Buffer offsets_;
  std::unique_ptr<Comm> comm_;
  std::vector<std::int64_t> host_offsets_;
  std::vector<InputSet> inputs_;
  Tensor y_, dx_;
};

MemoryEstimate estimate(const Case& bench_case, const EstimateArgs& args) {
  const Shape shape = dense_shape(bench_case.shape);
  const bool backward = bench_case.passes != PassSet::fwd;
  MemoryEstimate estimate = estimate_memory(shape, backward, args.input_sets);
  if (args.check != CheckMode::none)
    estimate.host = check_memory(shape, backward, args.check == CheckMode::full, false, usable_cores()).host;
  return estimate;
}

std::string why_not_dense(const Case& bench_case, const Capabilities& backend) {
  return backend.why_not(kDenseEngine, engine_shape_of(dense_shape(bench_case.shape),
                                                       bench_case.passes != PassSet::fwd, Case{}.streams));
}

}  // namespace

const SubjectEntry kDenseSubject{.kind = SubjectKind::dense,
                                 .make = make_subject_of<DenseSubject>,
                                 .estimate = estimate,
                                 .why_not = why_not_dense};

}  // namespace moebench
