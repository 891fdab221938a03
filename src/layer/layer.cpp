// SPDX-License-Identifier: Apache-2.0
// One layer of the FastMoE paper (arXiv 2103.13262, algorithm 1 and section 3): read forward() first.
#include "layer/layer.h"

#include "base/error.h"
#include "base/text.h"

namespace moebench {

void Layer::forward(const TensorView& x, const TensorView& y, Trace& trace) {
  const Pass pass = Pass::forward;
  const std::int64_t k = shape_.top_k;
  in(Stage::gate, pass, trace, [&] {
    backend_.gate(GateForward{.x = x,
                              .weight = parameters_.value(Parameter::gate),
                              .logits = routing_.logits,
                              .expert_of = routing_.expert_of,
                              .score = routing_.score,
                              .top_k = k});
  });
  in(Stage::plan, pass, trace, [&] {
    backend_.plan({.expert_of = routing_.expert_of,
                   .order = alone() ? engine_->row_order() : RowOrder::by_expert,
                   .counts = routing_.counts,
                   .offsets = routing_.offsets,
                   .row_of = routing_.row_of,
                   .slot_of = engine_->takes_tokens() ? routing_.slot_of : std::span<std::int32_t>{}});
  });
  in(Stage::pack, pass, trace,
     [&] { backend_.pack(PackForward{.x = x, .row_of = routing_.row_of, .rows = rows_home_, .top_k = k}); });
  in(Stage::sizes, pass, trace, [&] { exchange_sizes(); });
  in(Stage::dispatch, pass, trace, [&] { send_to_experts(rows_home_, rows_away_); });
  in(Stage::experts, pass, trace, [&] { engine_->forward(experts_args(x)); });
  in(Stage::collect, pass, trace, [&] { send_home(out_away_, out_home_); });
  in(Stage::combine, pass, trace, [&] {
    backend_.combine(CombineForward{
        .rows = out_home_, .row_of = routing_.row_of, .score = routing_.score, .y = y, .top_k = k});
  });
}

void Layer::backward(const TensorView& x, const TensorView& dy, const TensorView& dx, Trace& trace) {
  const Pass pass = Pass::backward;
  const std::int64_t k = shape_.top_k;
  in(Stage::combine, pass, trace, [&] {
    backend_.combine(CombineBackward{.dy = dy,
                                     .rows = out_home_,
                                     .row_of = routing_.row_of,
                                     .score = routing_.score,
                                     .drows = dout_home_,
                                     .dscore = engine_->gives_dscore() ? std::span<float>{} : routing_.dscore,
                                     .top_k = k});
  });
  in(Stage::collect, pass, trace, [&] { send_to_experts(dout_home_, dout_away_); });
  in(Stage::experts, pass, trace, [&] {
    const bool here = alone();
    engine_->backward(
        {.forward = experts_args(x),
         .dout = here ? dout_home_ : dout_away_,
         .dx = here ? drows_home_ : drows_away_,
         .gradients = parameters_.gradients(),
         .scores = {.row_of = routing_.row_of, .score = routing_.score, .dscore = routing_.dscore}});
  });
  in(Stage::dispatch, pass, trace, [&] { send_home(drows_away_, drows_home_); });
  in(Stage::pack, pass, trace, [&] {
    backend_.pack(PackBackward{.drows = drows_home_, .row_of = routing_.row_of, .dx = dx, .top_k = k});
  });
  in(Stage::gate, pass, trace, [&] {
    backend_.gate(GateBackward{.x = x,
                               .weight = parameters_.value(Parameter::gate),
                               .expert_of = routing_.expert_of,
                               .score = routing_.score,
                               .dscore = routing_.dscore,
                               .dlogits = routing_.dlogits,
                               .dx = dx,
                               .dweight = parameters_.gradient(Parameter::gate),
                               .top_k = k});
  });
}

void Layer::sync(Trace& trace) {
  in(Stage::sync, Pass::sync, trace, [&] {
    for (ParameterTensors& parameter : parameters_.all())
      if (Comm* comm = groups_.of(parameter.spec.tag)) comm->all_reduce(parameter.gradient);
  });
}

Layer::Layer(const Shape& shape, Groups& groups, Backend& backend, const LayerOptions& options)
    : shape_(shape),
      groups_(groups),
      backend_(backend),
      engine_(backend.make_engine(options.engine, {.hidden = shape.hidden,
                                                   .ffn = shape.ffn,
                                                   .experts = shape.experts_per_rank(),
                                                   .activation = shape.activation,
                                                   .bias = shape.bias,
                                                   .dtype = shape.dtype,
                                                   .backward = options.backward,
                                                   .top_k = shape.top_k,
                                                   .alone = alone(),
                                                   .streams = options.streams})),
      backward_(options.backward),
      exchange_(options.exchange),
      parameters_(shape, groups.world().rank(), backend, options.backward),
      routing_(shape, shape.tokens_of(groups.world().rank()), backend.memory()) {
  const std::int64_t slots = shape.tokens_of(groups.world().rank()) * shape.top_k;
  const auto rows_tensor = [&](std::int64_t rows) {
    return Tensor(backend.memory(), shape.dtype, rows, shape.hidden);
  };
  rows_home_ = rows_tensor(engine_->takes_tokens() ? 0 : slots);
  out_home_ = rows_tensor(slots);
  if (options.backward) {
    dout_home_ = rows_tensor(slots);
    drows_home_ = rows_tensor(slots);
  }
  if (alone()) {
    engine_->reserve(slots);
    return;
  }
  for (Tensor* tensor : {&rows_away_, &out_away_, &dout_away_, &drows_away_}) *tensor = rows_tensor(0);
}

RankLoad Layer::load() const {
  const auto rows = rows_of_experts();
  RankLoad load{.tokens = std::ssize(routing_.score) / shape_.top_k,
                .peers = groups_.expert_parallel().size() - 1};
  for (const std::int64_t count : rows) {
    load.rows += count;
    load.active_experts += count > 0;
  }
  if (alone()) return load;
  const std::int64_t e = shape_.experts_per_rank(), me = groups_.expert_parallel().rank();
  for (std::int64_t i = 0; i < std::ssize(routing_.sent); ++i) {
    if (i / e == me) continue;
    load.sent_rows += routing_.sent[i];
    load.received_rows += routing_.received[i];
  }
  return load;
}

std::vector<std::int64_t> Layer::rows_of_experts() const {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(shape_.experts_per_rank()));
  if (alone()) {
    std::vector<std::int32_t> counts(routing_.counts.size());
    backend_.memory().copy_to_host(counts.data(), routing_.counts.data(), routing_.counts.size_bytes());
    rows.assign(counts.begin(), counts.end());
  } else {
    for (std::size_t e = 0; e < rows.size(); ++e)
      rows[e] = routing_.host_offsets[e + 1] - routing_.host_offsets[e];
  }
  return rows;
}

/// Runs one stage between its two trace calls; an error between ranks gets the stage's name.
template <class Work>
void Layer::in(Stage stage, Pass pass, Trace& trace, Work work) {
  const bool travels = stage == Stage::sizes || stage == Stage::dispatch || stage == Stage::collect;
  if (fuses(stage, pass) || (travels && alone())) return;
  trace.begin(stage, pass);
  try {
    work();
  } catch (const TimeoutError& error) {
    throw TimeoutError(cat(name_of(pass), " ", name_of(stage), ": ", error.what()));
  } catch (const CommError& error) {
    throw CommError(cat(name_of(pass), " ", name_of(stage), ": ", error.what()));
  }
  trace.end(stage, pass);
}

/// Tells every peer how many rows of each of its experts will come, and lays out what will be received.
void Layer::exchange_sizes() {
  routing_.read_counts(backend_.memory());
  groups_.expert_parallel().exchange_sizes(routing_.sent, routing_.received);
  routing_.lay_out_rows();
  make_room(routing_.received_rows());
  routing_.write_received(backend_.memory(), engine_->row_order() == RowOrder::by_token);
}

/// Grows what holds received rows; a step that receives no more than an earlier one allocates nothing.
void Layer::make_room(std::int64_t rows) {
  engine_->reserve(rows);
  for (Tensor* tensor : {&rows_away_, &out_away_}) tensor->set_rows(rows);
  if (backward_)
    for (Tensor* tensor : {&dout_away_, &drows_away_}) tensor->set_rows(rows);
}

void Layer::send_to_experts(const TensorView& home, const TensorView& away) {
  groups_.expert_parallel().exchange_rows({.send = home,
                                           .recv = away,
                                           .sends = routing_.home,
                                           .recvs = routing_.away,
                                           .segments_per_peer = static_cast<int>(shape_.experts_per_rank()),
                                           .form = exchange_});
}

void Layer::send_home(const TensorView& away, const TensorView& home) {
  groups_.expert_parallel().exchange_rows({.send = away,
                                           .recv = home,
                                           .sends = routing_.away,
                                           .recvs = routing_.home,
                                           .segments_per_peer = static_cast<int>(shape_.experts_per_rank()),
                                           .form = exchange_});
}

ExpertsForward Layer::experts_args(const TensorView& x) const {
  ExpertsForward args{.weights = parameters_.values()};
  if (alone()) {
    args.x = engine_->takes_tokens() ? x : rows_home_.view();
    args.out = out_home_;
    args.slot_of = routing_.slot_of;
    args.offsets = routing_.offsets;
    if (engine_->row_order() == RowOrder::by_token) args.expert_of_row = routing_.expert_of;
  } else {
    args.x = rows_away_;
    args.out = out_away_;
    args.offsets = routing_.local_offsets;
    args.host_offsets = routing_.host_offsets;
    args.expert_of_row = routing_.expert_of_row;
  }
  return args;
}

}  // namespace moebench
