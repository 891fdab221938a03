// SPDX-License-Identifier: Apache-2.0
// Rows are exchanged as messages of a Comm: one size exchange and four row exchanges per step, as in the FastMoE paper.
// The host waits once per step, for the row counts.
//
// An exchange `fused` is one message per peer. Where the Comm cannot send rows that lie apart as one message (NCCL),
// they arrive in the order of the messages, by sender and then by expert, and are regrouped by expert on arrival; on the
// way back they are regrouped for the messages. Rows that stay on this rank are regrouped where they are.
#include <utility>

#include "base/bump_allocator.h"
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
        regroups_(form == ExchangeForm::fused && args.shape.experts_per_rank() > 1 &&
                  !args.ranks.joins_segments()),
        tokens_(args.tokens),
        backward_(args.backward),
        layout_(args.ranks.size(), args.shape.experts_per_rank()),
        expert_of_row_storage_(args.backend.memory(), 0) {
    const std::int64_t slots = tokens_ * shape_.slots_per_token();
    storage_ = allocate_together(backend_.memory(), [&](BumpAllocator& allocator) {
      allocator.allocate(counts_, shape_.experts);
      allocator.allocate(offsets_, shape_.experts + 1);
      allocator.allocate(row_of_, slots);
      allocator.allocate(sizes_, 2 * (shape_.experts_per_rank() + 1) + 2 * shape_.experts + 1);
    });
    const auto e = static_cast<std::size_t>(shape_.experts_per_rank()), pairs = layout_.sent.size();
    local_offsets_ = sizes_.first(e + 1);
    own_begin_ = sizes_.subspan(e + 1, e + 1);
    begin_ = sizes_.subspan(2 * (e + 1), pairs + 1);
    place_ = sizes_.subspan(2 * (e + 1) + pairs + 1, pairs);
    const auto rows = [&](std::int64_t n) {
      return Tensor(backend_.memory(), shape_.dtype, n, shape_.hidden);
    };
    for (Tensor* tensor : {&sent_rows_, &returned_}) *tensor = rows(args.rows);
    for (Tensor* tensor : {&sent_dout_, &returned_drows_}) *tensor = rows(backward_ ? args.rows : 0);
    for (Tensor* tensor : {&rows_, &out_, &dout_, &drows_, &messages_}) *tensor = rows(0);
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
      backend_.pack(
          PackForward{.x = x, .row_of = row_of_, .rows = sent_rows_, .top_k = shape_.slots_per_token()});
    });
    run_stage(Stage::sizes, pass, trace, [&] { exchange_sizes(); });
    run_stage(Stage::dispatch, pass, trace, [&] { send_to_experts(sent_rows_, rows_); });
  }

  ExpertsForward batch(int, Trace&) override {
    return {.x = rows_,
            .offsets = local_offsets_,
            .host_offsets = layout_.offsets,
            .expert_of_row = expert_of_row_,
            .out = out_};
  }

  void combine(const Routing& routing, const TensorView& y, Trace& trace) override {
    run_stage(Stage::collect, Pass::forward, trace, [&] { send_back(out_, returned_); });
    run_stage(Stage::combine, Pass::forward, trace, [&] {
      backend_.combine(CombineForward{.rows = returned_,
                                      .row_of = row_of_,
                                      .score = routing.score,
                                      .y = y,
                                      .top_k = shape_.slots_per_token()});
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
                                       .top_k = shape_.slots_per_token()});
    });
    run_stage(Stage::collect, Pass::backward, trace, [&] { send_to_experts(sent_dout_, dout_); });
  }

  ExpertsBackward batch_gradient(int i, const Routing&, Trace& trace) override {
    return {.forward = batch(i, trace), .dout = dout_, .dx = drows_};
  }

  void combine_gradient(const Routing&, const TensorView& dx, Trace& trace) override {
    run_stage(Stage::dispatch, Pass::backward, trace, [&] { send_back(drows_, returned_drows_); });
    run_stage(Stage::pack, Pass::backward, trace, [&] {
      backend_.pack(PackBackward{
          .drows = returned_drows_, .row_of = row_of_, .dx = dx, .top_k = shape_.slots_per_token()});
    });
  }

  std::optional<Stage> fused_into(Stage, Pass) const override { return {}; }
  std::string why_no_graph() const override {
    return "the host waits for the number of rows that will come from the other ranks";
  }

  RankLoad load() const override {
    RankLoad load{.tokens = tokens_, .rows = layout_.received_rows(), .peers = ranks_.size() - 1};
    for (const std::int64_t count : rows_of_experts()) load.active_experts += count > 0;
    const std::int64_t e = shape_.experts_per_rank();
    load.dropped = tokens_ * shape_.slots_per_token();
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
    if (regroups_) lay_out_messages();
    memory.copy_from_host(sizes_.data(), staging_.data(), staging_.size() * sizeof(std::int32_t));
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

  /// One segment per peer, and what regroup() needs, behind the offsets in staging_.
  void lay_out_messages() {
    const std::int64_t e = shape_.experts_per_rank(), own = ranks_.rank() * e;
    const auto append_begins = [&](std::int64_t first, std::int64_t count, bool without_own) {
      std::int32_t begin = 0;
      staging_.push_back(begin);
      for (std::int64_t i = first; i < first + count; ++i) {
        if (!without_own || i / e != ranks_.rank()) begin += static_cast<std::int32_t>(layout_.received[i]);
        staging_.push_back(begin);
      }
      return std::int64_t{begin};
    };
    append_begins(own, e, false);
    messages_.set_rows(append_begins(0, std::ssize(layout_.received), true));
    for (const Segment& segment : layout_.recv_segments)
      staging_.push_back(static_cast<std::int32_t>(segment.first));
    own_sent_ = {layout_.send_segments[own].first, 0};
    sent_to_.clear(), received_from_.clear();
    std::int64_t received = 0;
    for (std::int64_t p = 0; p < ranks_.size(); ++p) {
      Segment to{layout_.send_segments[p * e].first, 0}, from{received, 0};
      for (std::int64_t i = p * e; i < (p + 1) * e; ++i)
        to.rows += layout_.sent[i], from.rows += layout_.received[i];
      if (p == ranks_.rank()) own_sent_ = std::exchange(to, {}), from = {};
      received += from.rows;
      sent_to_.push_back(to), received_from_.push_back(from);
    }
  }

  /// Between messages_ and rows by expert, and between the rows that stay here and theirs. Segments of `place_` that hold
  /// this rank's own rows are empty in messages_.
  void regroup(const TensorView& own_messages, const TensorView& by_expert, bool to_messages) {
    const auto e = static_cast<std::size_t>(shape_.experts_per_rank());
    backend_.regroup({.messages = own_messages.slice(own_sent_.first, own_sent_.rows),
                      .by_expert = by_expert,
                      .begin = own_begin_,
                      .place = place_.subspan(static_cast<std::size_t>(ranks_.rank()) * e, e),
                      .to_messages = to_messages});
    backend_.regroup({.messages = messages_,
                      .by_expert = by_expert,
                      .begin = begin_,
                      .place = place_,
                      .to_messages = to_messages});
  }

  void send_to_experts(const TensorView& from, const TensorView& to) {
    if (regroups_) {
      ranks_.exchange_rows({.send = from, .recv = messages_, .sends = sent_to_, .recvs = received_from_});
      return regroup(from, to, false);
    }
    exchange({.send = from, .recv = to, .sends = layout_.send_segments, .recvs = layout_.recv_segments});
  }
  void send_back(const TensorView& from, const TensorView& to) {
    if (regroups_) {
      regroup(to, from, true);
      return ranks_.exchange_rows(
          {.send = messages_, .recv = to, .sends = received_from_, .recvs = sent_to_});
    }
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
  bool regroups_;
  std::int64_t tokens_;
  bool backward_;
  RowLayout layout_;
  Buffer storage_, expert_of_row_storage_;
  std::span<std::int32_t> counts_, offsets_, row_of_;  // [E], [E + 1] of the sent rows, [S] slot → sent row
  std::span<std::int32_t> sizes_;                      // what follows, one after the other
  std::span<std::int32_t> local_offsets_;              // [e + 1] of the received rows
  std::span<std::int32_t> own_begin_;                  // [e + 1] of the rows that stay, as they are sent
  std::span<std::int32_t> begin_, place_;              // [P·e + 1], [P·e] see Regroup
  std::span<std::int32_t> expert_of_row_;              // [n], only for engines that read rows by token
  std::vector<std::int32_t> staging_;                  ///< 32-bit copies on their way between host and device
  Tensor sent_rows_, returned_, sent_dout_, returned_drows_;  // [rows, H] in (peer, expert) order
  Tensor rows_, out_, dout_, drows_;                          // [n, H] in (expert, peer) order
  Tensor messages_;                               // [rows of other ranks, H] in (peer, expert) order
  std::vector<Segment> sent_to_, received_from_;  ///< [P] of messages; empty for this rank
  Segment own_sent_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_all_to_all_dispatcher(const DispatcherArgs& args, ExchangeForm form) {
  return std::make_unique<AllToAllDispatcher>(args, form);
}

}  // namespace moebench
