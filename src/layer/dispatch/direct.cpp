// SPDX-License-Identifier: Apache-2.0
// Rows travel by stores of our own kernels into memory that the ranks of one host share (backends/peer_kernels.h).
//
// A token's row crosses once per rank that has one of its experts, not once per expert; that rank copies it to its
// experts' rows, and returns one weighted sum per token. Counts stay on the device: once every input set has been
// seen, no call waits for the device unless the engine needs the counts on the host.
//
// With overlap `peer` the engine runs three batches a pass: its first product for the rank's own rows while the rows of
// the others arrive; both products for those; the second product for the own rows (and backward the weights' gradients)
// while what the others wait for returns. With `wgrad` only the weights' gradients are a batch of their own. With `tile`
// the engine itself stores each row of its last product at the token's rank, once per expert; the exchange then only
// waits until all ranks have, and the token's rank adds up.
#include <algorithm>

#include "backends/peer_kernels.h"
#include "base/bump_allocator.h"
#include "comm/peer_memory.h"
#include "layer/dispatch/direct_rows.h"
#include "layer/dispatch/dispatcher.h"
#include "layer/run_stage.h"

namespace moebench {
namespace {

class DirectDispatcher final : public Dispatcher {
 public:
  DirectDispatcher(const DispatcherArgs& args, std::unique_ptr<PeerMemory> memory, const PeerGroup& group)
      : shape_(args.shape),
        ranks_(args.ranks),
        backend_(args.backend),
        engine_(args.engine),
        traits_(args.engine.traits()),
        tokens_(args.tokens),
        backward_(args.backward),
        overlap_(args.overlap),
        by_slot_(group.returns_by_slot),
        comm_sms_(args.comm_sms),
        peer_memory_(std::move(memory)),
        group_(group),
        kernels_(args.backend.make_peer_kernels(group)),
        forecast_(group_, tokens_, *kernels_),
        host_offsets_(static_cast<std::size_t>(shape_.experts_per_rank() + 1)) {
    const std::int64_t slots = tokens_ * shape_.slots_per_token(), local = shape_.experts_per_rank();
    storage_ = allocate_together(backend_.memory(), [&](BumpAllocator& allocator) {
      allocator.allocate(counts_, shape_.experts);
      allocator.allocate(offsets_, shape_.experts + 1);
      allocator.allocate(first_row_, shape_.experts);
      allocator.allocate(row_of_, slots);
      allocator.allocate(local_offsets_, local + 1);
      allocator.allocate(own_end_, local);
      if (backward_ && traits_.computes_dscore)
        allocator.allocate(dscore_, group_.size * group_.max_tokens * shape_.slots_per_token());
    });
    for (Tensor* tensor : {&rows_, &out_, &dout_, &drows_})
      *tensor = Tensor(backend_.memory(), shape_.dtype, 0, shape_.hidden);
    return_to_ = Buffer(backend_.memory(), 0);
  }
  /// Peers may still read this rank's block.
  ~DirectDispatcher() override {
    if (std::uncaught_exceptions() == 0) backend_.synchronize();
  }

  void dispatch(const TensorView& x, const Routing& routing, Trace& trace) override {
    kernels_->check();
    const Pass pass = Pass::forward;
    run_stage(Stage::plan, pass, trace, [&] {
      backend_.plan({.expert_of = routing.expert_of,
                     .order = RowOrder::by_expert,
                     .counts = counts_,
                     .offsets = offsets_,
                     .row_of = row_of_,
                     .slot_of = {}});
    });
    x_ = x;
    expert_of_ = routing.expert_of;
    const bool beside = overlap_ == Overlap::peer;
    const bool own = settled_ && !beside;  // before, there may be no room for the rows
    const PeerCounts counts = peer_counts();
    if (beside)  // own rows need the counts at once
      run_stage(Stage::sizes, pass, trace, [&] {
        kernels_->exchange_counts(counts);
        learn_counts();
      });
    run_stage(Stage::dispatch, pass, trace, [&] {
      kernels_->push({.event = PeerEvent::rows,
                      .x = x,
                      .expert_of = expert_of_,
                      .row_of = row_of_,
                      .offsets = offsets_,
                      .first_row = first_row_,
                      .score = routing.score,
                      .counts = beside ? nullptr : &counts,
                      .own_rows = own ? rows_.view() : TensorView{},
                      .return_to = own ? places() : std::span<std::byte*>{},
                      .beside = beside});
      if (!beside) learn_counts();
    });
    run_stage(Stage::pack, pass, trace, [&] {
      if (beside) return spread_own();
      kernels_->spread(
          {.x = x, .rows = rows_, .of = own ? PeerTokens::received : PeerTokens::all, .return_to = places()});
    });
  }

  int batches(Pass pass) const override {
    if (overlap_ == Overlap::peer) return 3;
    return overlap_ == Overlap::wgrad && pass == Pass::backward ? 2 : 1;
  }

  ExpertsForward batch(int i, Trace& trace) override {
    const Pass pass = Pass::forward;
    if (overlap_ != Overlap::peer) return whole_batch();
    if (i == 0) return part(own_rows({.second = false, .spare_us = forecast_.push_us()}));
    if (i == 1) {
      run_stage(Stage::dispatch, pass, trace, [&] { kernels_->wait_for(PeerEvent::rows); });
      run_stage(Stage::pack, pass, trace,
                [&] { kernels_->spread({.x = x_, .rows = rows_, .of = PeerTokens::received}); });
      return part(received_rows({}));
    }
    run_stage(Stage::collect, pass, trace, [&] { reduce_outputs(true); });
    return part(own_rows({.first = false, .spare_us = forecast_.reduce_us()}));
  }

  void combine(const Routing& routing, const TensorView& y, Trace& trace) override {
    run_stage(Stage::collect, Pass::forward, trace, [&] {
      if (by_slot_)
        kernels_->finish(PeerEvent::outputs);
      else
        overlap_ == Overlap::peer ? kernels_->wait_for(PeerEvent::outputs) : reduce_outputs(false);
    });
    run_stage(Stage::combine, Pass::forward, trace, [&] {
      kernels_->sum({.rows = out_, .y = y, .expert_of = routing.expert_of, .weighted = true, .dscore = {}});
    });
  }

  void dispatch_gradient(const TensorView& dy, const Routing& routing, Trace& trace) override {
    dy_ = dy;
    const bool beside = overlap_ == Overlap::peer;
    const bool own = !beside && (by_slot_ || traits_.computes_dscore);  // no output row is needed here
    run_stage(Stage::collect, Pass::backward, trace, [&] {
      kernels_->push({.event = PeerEvent::output_gradients,
                      .x = dy,
                      .expert_of = routing.expert_of,
                      .own_rows = own ? dout_.view() : TensorView{},
                      .dots = by_slot_ && !traits_.computes_dscore,
                      .beside = beside});
    });
    run_stage(Stage::combine, Pass::backward, trace, [&] {
      scale(beside ? PeerTokens::own : own ? PeerTokens::received : PeerTokens::all);
    });
  }

  ExpertsBackward batch_gradient(int i, const Routing&, Trace& trace) override {
    const Pass pass = Pass::backward;
    const bool is_last = i + 1 == batches(pass);
    if (is_last && runs_beside()) run_stage(Stage::dispatch, pass, trace, [&] { reduce_gradients(true); });
    ExpertsBackward batch{.forward = whole_batch(),
                          .dout = dout_,
                          .dx = by_slot_ ? size_of_rows() : drows_.view(),
                          .dx_rows = places(),
                          .scores = {.row_of = block_array<std::int32_t>(group_.at.row_of),
                                     .score = block_array<float>(group_.at.score),
                                     .dscore = dscore_}};
    if (overlap_ == Overlap::wgrad) {
      batch.forward.part = is_last
                               ? beside({.first = false, .second = false, .spare_us = forecast_.reduce_us()})
                               : ExpertsPart{.weights = false};
    } else if (overlap_ == Overlap::peer && i == 0) {
      batch.forward.part = own_rows({.first = false, .weights = false, .spare_us = forecast_.push_us()});
    } else if (overlap_ == Overlap::peer && i == 1) {
      run_stage(Stage::collect, pass, trace, [&] { kernels_->wait_for(PeerEvent::output_gradients); });
      run_stage(Stage::combine, pass, trace, [&] { scale(PeerTokens::received); });
      batch.forward.part = received_rows({.weights = false});
    } else if (overlap_ == Overlap::peer) {
      batch.forward.part = own_rows({.second = false, .spare_us = forecast_.reduce_us()});
    }
    return batch;
  }

  void combine_gradient(const Routing& routing, const TensorView& dx, Trace& trace) override {
    run_stage(Stage::dispatch, Pass::backward, trace, [&] {
      if (runs_beside()) return kernels_->wait_for(PeerEvent::input_gradients);
      by_slot_ ? finish_gradients() : reduce_gradients(false);
    });
    run_stage(Stage::pack, Pass::backward, trace, [&] {
      kernels_->sum({.rows = drows_,
                     .y = dx,
                     .expert_of = routing.expert_of,
                     .weighted = false,
                     .dscore = routing.dscore});
    });
  }

  std::optional<Stage> fused_into(Stage stage, Pass pass) const override {
    if (stage == Stage::sizes && pass == Pass::forward && overlap_ != Overlap::peer) return Stage::dispatch;
    return {};
  }
  bool overlaps(Stage stage, Pass pass) const override {
    if (stage == Stage::dispatch && pass == Pass::backward) return overlap_ != Overlap::none;
    if (stage == Stage::collect && pass == Pass::forward && by_slot_) return true;
    return overlap_ == Overlap::peer && (stage == Stage::dispatch || stage == Stage::collect);
  }
  std::string why_no_graph() const override {
    return traits_.waits_for_sizes ? "the engine reads the row counts on the host" : std::string();
  }
  bool waits_for_device() const override { return !settled_; }
  /// Engines that read sizes on the host go on waiting once per step.
  void settle() override { settled_ = !traits_.waits_for_sizes; }

  RankLoad load() const override {
    RankLoad load{
        .tokens = tokens_, .peers = ranks_.size() - 1, .deduplicated = true, .returns_by_slot = by_slot_};
    for (const std::int64_t count : rows_of_experts()) {
      load.rows += count;
      load.active_experts += count > 0;
    }
    count_sent(read<std::int32_t>(expert_of_), group_, load);
    count_received(group_, backend_.memory(), load);
    return load;
  }
  std::vector<std::int64_t> rows_of_experts() const override {
    const auto offsets = read<std::int32_t>(local_offsets_);
    std::vector<std::int64_t> rows;
    for (std::size_t e = 0; e + 1 < offsets.size(); ++e) rows.push_back(offsets[e + 1] - offsets[e]);
    return rows;
  }

 private:
  /// The exchange has a queue of its own.
  bool runs_beside() const { return overlap_ == Overlap::wgrad || overlap_ == Overlap::peer; }
  /// Where the rows of this rank's experts return to, [n] as rows_; empty unless they return by slot.
  std::span<std::byte*> places() const {
    if (!by_slot_) return {};
    return {return_to_.as<std::byte*>(), static_cast<std::size_t>(rows_.view().rows)};
  }
  /// The size of the experts' rows alone: they return by slot.
  TensorView size_of_rows() const {
    TensorView size = rows_;
    size.data = nullptr;
    return size;
  }
  /// [P, M, K] of this rank's block.
  template <class T>
  std::span<T> block_array(std::size_t offset) const {
    return {reinterpret_cast<T*>(group_.block[group_.rank] + offset),
            static_cast<std::size_t>(group_.size * group_.max_tokens * group_.top_k)};
  }

  ExpertsForward whole_batch() const {
    ExpertsForward batch{.x = rows_,
                         .offsets = local_offsets_,
                         .out = by_slot_ ? size_of_rows() : out_.view(),
                         .out_rows = places()};
    if (!settled_) batch.host_offsets = host_offsets_;
    return batch;
  }
  ExpertsForward part(const ExpertsPart& part) const {
    ExpertsForward batch = whole_batch();
    batch.part = part;
    return batch;
  }
  /// Of the rows that this rank's own tokens have at its experts.
  ExpertsPart own_rows(ExpertsPart part) const {
    part.begin = local_offsets_.first(own_end_.size()), part.end = own_end_;
    part.share = 1.0 / group_.size;
    return beside(part);
  }
  ExpertsPart received_rows(ExpertsPart part) const {
    part.begin = own_end_, part.end = local_offsets_.subspan(1);
    part.share = 1 - 1.0 / group_.size;
    return part;
  }
  ExpertsPart beside(ExpertsPart part) const {
    part.spare_units = comm_sms_;
    return part;
  }

  void spread_own() {
    kernels_->spread({.x = x_,
                      .rows = rows_,
                      .of = PeerTokens::own,
                      .expert_of = expert_of_,
                      .row_of = row_of_,
                      .offsets = offsets_,
                      .first_row = first_row_});
  }
  void scale(PeerTokens of) {
    const bool dots = !by_slot_ && !traits_.computes_dscore;
    kernels_->scale({.dy = dy_, .out = dots ? out_.view() : TensorView{}, .drows = dout_, .of = of});
  }
  void reduce_outputs(bool beside) {
    kernels_->reduce({.event = PeerEvent::outputs, .rows = out_, .weighted = true, .beside = beside});
  }
  void send_dscore() {
    if (traits_.computes_dscore) kernels_->send_dscore(dscore_);
  }
  void finish_gradients() {
    send_dscore();
    kernels_->finish(PeerEvent::input_gradients);
  }
  void reduce_gradients(bool beside) {
    send_dscore();
    kernels_->reduce(
        {.event = PeerEvent::input_gradients, .rows = drows_, .weighted = false, .beside = beside});
  }

  PeerCounts peer_counts() const {
    return {.counts = counts_,
            .first_row = first_row_,
            .local_offsets = local_offsets_,
            .own_end = own_end_,
            .max_rows = settled_ ? rows_.view().rows : kAnyRows};
  }
  /// Until settled: the counts of all ranks come to the host, and buffers grow.
  void learn_counts() {
    if (settled_) return;
    const auto offsets = read<std::int32_t>(local_offsets_);  // waits for the device
    kernels_->check();
    host_offsets_.assign(offsets.begin(), offsets.end());
    reserve(host_offsets_.back());
  }

  /// A step that receives no more rows than an earlier one allocates nothing. Tensors keep the most rows seen.
  void reserve(std::int64_t rows) {
    if (traits_.waits_for_sizes) return set_rows(rows);
    if (rows > rows_.view().rows) set_rows(rows);
  }
  void set_rows(std::int64_t rows) {
    engine_.reserve(rows);
    rows_.set_rows(rows);
    if (backward_) dout_.set_rows(rows);
    if (by_slot_) return return_to_.reserve(static_cast<std::size_t>(rows) * sizeof(std::byte*));
    out_.set_rows(rows);
    if (backward_) drows_.set_rows(rows);
  }

  template <class T>
  std::vector<T> read(std::span<const T> array) const {
    std::vector<T> host(array.size());
    backend_.memory().copy_to_host(host.data(), array.data(), array.size_bytes());
    return host;
  }

  static constexpr std::int64_t kAnyRows = std::int64_t{1} << 31;

  Shape shape_;
  Comm& ranks_;
  Backend& backend_;
  Engine& engine_;
  EngineTraits traits_;
  std::int64_t tokens_;
  bool backward_, settled_ = false;
  Overlap overlap_;
  bool by_slot_;
  int comm_sms_;
  std::unique_ptr<PeerMemory> peer_memory_;
  PeerGroup group_;
  std::unique_ptr<PeerKernels> kernels_;
  DirectForecast forecast_;
  Buffer storage_;
  std::span<std::int32_t> counts_, offsets_, first_row_;  // [E], [E + 1], [E]
  std::span<std::int32_t> row_of_, local_offsets_;  // [S] slot → row of `plan`; [e + 1] of the received rows
  std::span<std::int32_t> own_end_;                 // [e] where those of own tokens end
  TensorView x_, dy_;                               // of the last step
  std::span<const std::int32_t> expert_of_;         // [S] of the last step
  std::vector<std::int64_t> host_offsets_;          // [e + 1], until settled
  std::span<float> dscore_;                         // [P, M, K], if the engine computes it
  Tensor rows_, dout_;                              // [n, H] by expert, own tokens first
  Tensor out_, drows_;                              // the same, unless rows return by slot
  Buffer return_to_;                                // [n] addresses, if they do
};

}  // namespace

std::unique_ptr<Dispatcher> make_direct_dispatcher(const DispatcherArgs& args) {
  const Shape& shape = args.shape;
  if (args.ranks.size() > kMaxPeers)
    throw UsageError(cat("exchange direct joins at most ", kMaxPeers, " ranks, not ", args.ranks.size()));
  if (args.engine.traits().row_order == RowOrder::by_token)
    throw UsageError("exchange direct needs an engine that takes its rows by expert; naive engines do not");
  if (args.overlap != Overlap::none && !args.engine.traits().takes_parts)
    throw UsageError(cat("overlap ", name_of(args.overlap), " needs an engine that runs a pass in parts"));
  std::int64_t max_tokens = 0;
  for (int rank = 0; rank < shape.ranks; ++rank) max_tokens = std::max(max_tokens, shape.tokens_of(rank));
  const PeerLayout layout = peer_layout(args.ranks.size(), shape.experts, max_tokens, shape.slots_per_token(),
                                        static_cast<std::size_t>(shape.hidden) * size_of(shape.dtype),
                                        args.overlap == Overlap::tile);
  PeerMemoryResult peers = make_peer_memory(args.ranks, args.backend.memory(), layout.bytes);
  if (!peers.memory) throw EnvironmentError(cat("exchange direct cannot be used here: ", peers.why_not));
  const PeerGroup group = peer_group_of(args, layout, max_tokens, peers.memory->blocks());
  return std::make_unique<DirectDispatcher>(args, std::move(peers.memory), group);
}

}  // namespace moebench
