// SPDX-License-Identifier: Apache-2.0
// Rows travel as messages of a Comm: one size exchange and four row exchanges per step, as in the FastMoE paper.
// The host waits once per step, for the row counts.
#include "base/carve.h"
#include "layer/dispatch/dispatcher.h"
#include "layer/dispatch/row_layout.h"
#include "layer/run_stage.h"

namespace moebench {
namespace {

class AllToAllDispatcher final : public Dispatcher {
 public:
  AllToAllDispatcher(const DispatcherArgs& args, ExchangeForm form)
      : shape_(args.shape),
        ranks_(args.ranks),
        backend_(args.backend),
        engine_(args.engine),
        traits_(args.engine.traits()),
        form_(form),
        tokens_(args.tokens),
        backward_(args.backward),
        layout_(args.ranks.size(), args.shape.experts_per_rank()),
        expert_of_row_storage_(args.backend.memory(), 0) {
    const std::int64_t slots = tokens_ * shape_.top_k;
    storage_ = carve(backend_.memory(), [&](Carver& carver) {
      carver.carve(counts_, shape_.experts);
      carver.carve(offsets_, shape_.experts + 1);
      carver.carve(row_of_, slots);
      carver.carve(local_offsets_, shape_.experts_per_rank() + 1);
    });
    const auto rows = [&](std::int64_t n) {
      return Tensor(backend_.memory(), shape_.dtype, n, shape_.hidden);
    };
    for (Tensor* tensor : {&sent_rows_, &returned_}) *tensor = rows(slots);
    for (Tensor* tensor : {&sent_dout_, &returned_drows_}) *tensor = rows(backward_ ? slots : 0);
    for (Tensor* tensor : {&rows_, &out_, &dout_, &drows_}) *tensor = rows(0);
  }

  void dispatch(const TensorView& x, const Routing& routing, Trace& trace) override {
    const Pass pass = Pass::forward;
    run_stage(Stage::plan, pass, trace, [&] {
      backend_.plan({.expert_of = routing.expert_of,
                     .order = RowOrder::by_expert,
                     .counts = counts_,
                     .offsets = offsets_,
                     .row_of = row_of_,
                     .slot_of = {}});
    });
    run_stage(Stage::pack, pass, trace, [&] {
      backend_.pack(PackForward{.x = x, .row_of = row_of_, .rows = sent_rows_, .top_k = shape_.top_k});
    });
    run_stage(Stage::sizes, pass, trace, [&] { exchange_sizes(); });
    run_stage(Stage::dispatch, pass, trace, [&] { send_to_experts(sent_rows_, rows_); });
  }

  ExpertsForward batch() const override {
    return {.x = rows_,
            .offsets = local_offsets_,
            .host_offsets = layout_.offsets,
            .expert_of_row = expert_of_row_,
            .out = out_};
  }

  void combine(const Routing& routing, const TensorView& y, Trace& trace) override {
    run_stage(Stage::collect, Pass::forward, trace, [&] { send_back(out_, returned_); });
    run_stage(Stage::combine, Pass::forward, trace, [&] {
      backend_.combine(CombineForward{
          .rows = returned_, .row_of = row_of_, .score = routing.score, .y = y, .top_k = shape_.top_k});
    });
  }

  void dispatch_gradient(const TensorView& dy, const Routing& routing, Trace& trace) override {
    run_stage(Stage::combine, Pass::backward, trace, [&] {
      backend_.combine(CombineBackward{.dy = dy,
                                       .rows = returned_,
                                       .row_of = row_of_,
                                       .score = routing.score,
                                       .drows = sent_dout_,
                                       .dscore = routing.dscore,
                                       .top_k = shape_.top_k});
    });
    run_stage(Stage::collect, Pass::backward, trace, [&] { send_to_experts(sent_dout_, dout_); });
  }

  ExpertsBackward batch_gradient(const Routing&) const override {
    return {.forward = batch(), .dout = dout_, .dx = drows_};
  }

  void combine_gradient(const Routing&, const TensorView& dx, Trace& trace) override {
    run_stage(Stage::dispatch, Pass::backward, trace, [&] { send_back(drows_, returned_drows_); });
    run_stage(Stage::pack, Pass::backward, trace, [&] {
      backend_.pack(
          PackBackward{.drows = returned_drows_, .row_of = row_of_, .dx = dx, .top_k = shape_.top_k});
    });
  }

  std::optional<Stage> fused_into(Stage, Pass) const override { return {}; }
  std::string why_no_graph() const override {
    return "the host waits to hear how many rows will come from the other ranks";
  }

  RankLoad load() const override {
    RankLoad load{.tokens = tokens_, .rows = layout_.received_rows(), .peers = ranks_.size() - 1};
    for (const std::int64_t count : rows_of_experts()) load.active_experts += count > 0;
    const std::int64_t e = shape_.experts_per_rank();
    load.dropped = tokens_ * shape_.top_k;
    for (std::int64_t i = 0; i < std::ssize(layout_.sent); ++i) {
      load.dropped -= layout_.sent[i];
      if (i / e == ranks_.rank()) continue;
      load.sent_rows += layout_.sent[i];
      load.received_rows += layout_.received[i];
    }
    return load;
  }
  std::vector<std::int64_t> rows_of_experts() const override {
    std::vector<std::int64_t> rows;
    for (std::size_t e = 0; e + 1 < layout_.offsets.size(); ++e)
      rows.push_back(layout_.offsets[e + 1] - layout_.offsets[e]);
    return rows;
  }

 private:
  /// Exchanges row counts per expert with every peer and reserves memory for what will be received.
  void exchange_sizes() {
    Memory& memory = backend_.memory();
    staging_.resize(counts_.size());
    memory.copy_to_host(staging_.data(), counts_.data(), counts_.size_bytes());
    layout_.sent.assign(staging_.begin(), staging_.end());
    ranks_.exchange_sizes(layout_.sent, layout_.received);
    layout_.lay_out();
    reserve(layout_.received_rows());
    staging_.assign(layout_.offsets.begin(), layout_.offsets.end());
    memory.copy_from_host(local_offsets_.data(), staging_.data(), local_offsets_.size_bytes());
    if (traits_.row_order == RowOrder::by_token) write_expert_of_row();
  }

  /// A step that receives no more rows than an earlier one allocates nothing.
  void reserve(std::int64_t rows) {
    engine_.reserve(rows);
    for (Tensor* tensor : {&rows_, &out_}) tensor->set_rows(rows);
    if (backward_)
      for (Tensor* tensor : {&dout_, &drows_}) tensor->set_rows(rows);
  }

  void write_expert_of_row() {
    staging_.clear();
    const auto rows = rows_of_experts();
    for (std::size_t e = 0; e < rows.size(); ++e)
      staging_.insert(staging_.end(), static_cast<std::size_t>(rows[e]), static_cast<std::int32_t>(e));
    expert_of_row_storage_.reserve(staging_.size() * sizeof(std::int32_t));
    expert_of_row_ = {expert_of_row_storage_.as<std::int32_t>(), staging_.size()};
    backend_.memory().copy_from_host(expert_of_row_.data(), staging_.data(), expert_of_row_.size_bytes());
  }

  void send_to_experts(const TensorView& from, const TensorView& to) {
    exchange({.send = from, .recv = to, .sends = layout_.send_segments, .recvs = layout_.recv_segments});
  }
  void send_back(const TensorView& from, const TensorView& to) {
    exchange({.send = from, .recv = to, .sends = layout_.recv_segments, .recvs = layout_.send_segments});
  }
  void exchange(RowExchange rows) {
    rows.segments_per_peer = static_cast<int>(shape_.experts_per_rank());
    rows.form = form_;
    ranks_.exchange_rows(rows);
  }

  Shape shape_;
  Comm& ranks_;
  Backend& backend_;
  Engine& engine_;
  EngineTraits traits_;
  ExchangeForm form_;
  std::int64_t tokens_;
  bool backward_;
  RowLayout layout_;
  Buffer storage_, expert_of_row_storage_;
  std::span<std::int32_t> counts_, offsets_, row_of_;  // [E], [E + 1] of the sent rows, [S] slot → sent row
  std::span<std::int32_t> local_offsets_;              // [e + 1] of the received rows
  std::span<std::int32_t> expert_of_row_;              // [n], only for engines that read rows by token
  std::vector<std::int32_t> staging_;                  ///< 32-bit copies on their way between host and device
  Tensor sent_rows_, returned_, sent_dout_, returned_drows_;  // [S, H] in (peer, expert) order
  Tensor rows_, out_, dout_, drows_;                          // [n, H] in (expert, peer) order
};

}  // namespace

std::unique_ptr<Dispatcher> make_all_to_all_dispatcher(const DispatcherArgs& args, ExchangeForm form) {
  return std::make_unique<AllToAllDispatcher>(args, form);
}

}  // namespace moebench
