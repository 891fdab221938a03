// SPDX-License-Identifier: Apache-2.0
// Rows travel by stores of our own kernels into memory that the ranks of one host share (backends/peer_kernels.h).
//
// A token's row crosses once per rank that has one of its experts, not once per expert; that rank copies it to its
// experts' rows, and returns one weighted sum per token. Counts stay on the device: once every input set has been
// seen, no call waits for the device unless the engine needs the counts on the host.
//
// With overlap `peer` the engine runs three batches a pass: its first product for the rank's own rows while the rows of
// the others arrive; both products for those; the second product for the own rows (and backward the weights' gradients)
// while what the others wait for returns. With `wgrad` only the weights' gradients are a batch of their own.
#include <algorithm>
#include <cmath>

#include "backends/peer_kernels.h"
#include "base/bump_allocator.h"
#include "comm/peer_memory.h"
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
        comm_sms_(args.comm_sms),
        peer_memory_(std::move(memory)),
        group_(group),
        kernels_(args.backend.make_peer_kernels(group)),
        host_offsets_(static_cast<std::size_t>(shape_.experts_per_rank() + 1)) {
    const std::int64_t slots = tokens_ * shape_.top_k, local = shape_.experts_per_rank();
    storage_ = allocate_together(backend_.memory(), [&](BumpAllocator& allocator) {
      allocator.allocate(counts_, shape_.experts);
      allocator.allocate(offsets_, shape_.experts + 1);
      allocator.allocate(first_row_, shape_.experts);
      allocator.allocate(row_of_, slots);
      allocator.allocate(local_offsets_, local + 1);
      allocator.allocate(own_end_, local);
    });
    for (Tensor* tensor : {&rows_, &out_, &dout_, &drows_})
      *tensor = Tensor(backend_.memory(), shape_.dtype, 0, shape_.hidden);
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
    run_stage(Stage::sizes, pass, trace, [&] { exchange_counts(); });
    x_ = x;
    expert_of_ = routing.expert_of;
    const bool beside = overlap_ == Overlap::peer;
    run_stage(Stage::dispatch, pass, trace, [&] {
      kernels_->push({.event = PeerEvent::rows,
                      .x = x,
                      .expert_of = expert_of_,
                      .row_of = row_of_,
                      .offsets = offsets_,
                      .first_row = first_row_,
                      .score = routing.score,
                      .beside = beside});
    });
    run_stage(Stage::pack, pass, trace,
              [&] { beside ? spread_own() : kernels_->spread({.x = x, .rows = rows_}); });
  }

  int batches(Pass pass) const override {
    if (overlap_ == Overlap::peer) return 3;
    return overlap_ == Overlap::wgrad && pass == Pass::backward ? 2 : 1;
  }

  ExpertsForward batch(int i, Trace& trace) override {
    const Pass pass = Pass::forward;
    if (overlap_ != Overlap::peer) return whole_batch();
    if (i == 0) return part(own_rows({.second = false, .spare_us = push_us()}));
    if (i == 1) {
      run_stage(Stage::dispatch, pass, trace, [&] { kernels_->wait_for(PeerEvent::rows); });
      run_stage(Stage::pack, pass, trace,
                [&] { kernels_->spread({.x = x_, .rows = rows_, .of = PeerTokens::received}); });
      return part(received_rows({}));
    }
    run_stage(Stage::collect, pass, trace, [&] { reduce_outputs(true); });
    return part(own_rows({.first = false, .spare_us = reduce_us()}));
  }

  void combine(const Routing& routing, const TensorView& y, Trace& trace) override {
    run_stage(Stage::collect, Pass::forward, trace, [&] {
      overlap_ == Overlap::peer ? kernels_->wait_for(PeerEvent::outputs) : reduce_outputs(false);
    });
    run_stage(Stage::combine, Pass::forward, trace, [&] {
      kernels_->sum({.rows = out_, .y = y, .expert_of = routing.expert_of, .weighted = true, .dscore = {}});
    });
  }

  void dispatch_gradient(const TensorView& dy, const Routing& routing, Trace& trace) override {
    dy_ = dy;
    const bool beside = overlap_ == Overlap::peer;
    run_stage(Stage::collect, Pass::backward, trace, [&] {
      kernels_->push(
          {.event = PeerEvent::output_gradients, .x = dy, .expert_of = routing.expert_of, .beside = beside});
    });
    run_stage(Stage::combine, Pass::backward, trace,
              [&] { scale(beside ? PeerTokens::own : PeerTokens::all); });
  }

  ExpertsBackward batch_gradient(int i, const Routing&, Trace& trace) override {
    const Pass pass = Pass::backward;
    const bool is_last = i + 1 == batches(pass);
    if (is_last && overlap_ != Overlap::none)
      run_stage(Stage::dispatch, pass, trace, [&] { reduce_gradients(true); });
    ExpertsBackward batch{.forward = whole_batch(), .dout = dout_, .dx = drows_};
    if (overlap_ == Overlap::wgrad) {
      batch.forward.part = is_last ? beside({.first = false, .second = false, .spare_us = reduce_us()})
                                   : ExpertsPart{.weights = false};
    } else if (overlap_ == Overlap::peer && i == 0) {
      batch.forward.part = own_rows({.first = false, .weights = false, .spare_us = push_us()});
    } else if (overlap_ == Overlap::peer && i == 1) {
      run_stage(Stage::collect, pass, trace, [&] { kernels_->wait_for(PeerEvent::output_gradients); });
      run_stage(Stage::combine, pass, trace, [&] { scale(PeerTokens::received); });
      batch.forward.part = received_rows({.weights = false});
    } else if (overlap_ == Overlap::peer) {
      batch.forward.part = own_rows({.second = false, .spare_us = reduce_us()});
    }
    return batch;
  }

  void combine_gradient(const Routing& routing, const TensorView& dx, Trace& trace) override {
    run_stage(Stage::dispatch, Pass::backward, trace, [&] {
      overlap_ == Overlap::none ? reduce_gradients(false) : kernels_->wait_for(PeerEvent::input_gradients);
    });
    run_stage(Stage::pack, Pass::backward, trace, [&] {
      kernels_->sum({.rows = drows_,
                     .y = dx,
                     .expert_of = routing.expert_of,
                     .weighted = false,
                     .dscore = routing.dscore});
    });
  }

  std::optional<Stage> fused_into(Stage, Pass) const override { return {}; }
  bool overlaps(Stage stage, Pass pass) const override {
    if (stage == Stage::dispatch && pass == Pass::backward) return overlap_ != Overlap::none;
    return overlap_ == Overlap::peer && (stage == Stage::dispatch || stage == Stage::collect);
  }
  std::string why_no_graph() const override {
    return traits_.waits_for_sizes ? "the engine reads the row counts on the host" : std::string();
  }
  bool waits_for_device() const override { return !settled_; }
  /// Engines that read sizes on the host go on waiting once per step.
  void settle() override { settled_ = !traits_.waits_for_sizes && backend_.stream().handle != nullptr; }

  RankLoad load() const override {
    RankLoad load{.tokens = tokens_, .peers = ranks_.size() - 1, .deduplicated = true};
    for (const std::int64_t count : rows_of_experts()) {
      load.rows += count;
      load.active_experts += count > 0;
    }
    count_sent(load);
    count_received(load);
    return load;
  }
  std::vector<std::int64_t> rows_of_experts() const override {
    const auto offsets = read<std::int32_t>(local_offsets_);
    std::vector<std::int64_t> rows;
    for (std::size_t e = 0; e + 1 < offsets.size(); ++e) rows.push_back(offsets[e + 1] - offsets[e]);
    return rows;
  }

 private:
  ExpertsForward whole_batch() const {
    ExpertsForward batch{.x = rows_, .offsets = local_offsets_, .out = out_};
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
  void scale(PeerTokens of) { kernels_->scale({.dy = dy_, .out = out_, .drows = dout_, .of = of}); }
  void reduce_outputs(bool beside) {
    kernels_->reduce({.event = PeerEvent::outputs, .rows = out_, .weighted = true, .beside = beside});
  }
  void reduce_gradients(bool beside) {
    kernels_->reduce(
        {.event = PeerEvent::input_gradients, .rows = drows_, .weighted = false, .beside = beside});
  }

  /// Bytes that leave for other ranks if every expert is as likely: a row for each that has one of a token's experts.
  double expected_link_bytes() const {
    const double others = group_.size - 1;
    return static_cast<double>(tokens_ * shape_.hidden) * static_cast<double>(size_of(shape_.dtype)) *
           others * (1 - std::pow(others / group_.size, static_cast<double>(shape_.top_k)));
  }
  double push_us() const { return kernels_->beside_us(expected_link_bytes(), expected_link_bytes()); }
  /// A reduce reads every row of the others' tokens.
  double reduce_us() const {
    const double rows = static_cast<double>(tokens_ * shape_.top_k) * (1 - 1.0 / group_.size);
    return kernels_->beside_us(expected_link_bytes(), rows * static_cast<double>(shape_.hidden) *
                                                          static_cast<double>(size_of(shape_.dtype)));
  }

  void exchange_counts() {
    kernels_->exchange_counts({.counts = counts_,
                               .first_row = first_row_,
                               .local_offsets = local_offsets_,
                               .own_end = own_end_,
                               .max_rows = settled_ ? rows_.view().rows : kAnyRows});
    if (settled_) return;
    const auto offsets = read<std::int32_t>(local_offsets_);  // waits for the device
    kernels_->check();
    host_offsets_.assign(offsets.begin(), offsets.end());
    reserve(host_offsets_.back());
  }

  /// A step that receives no more rows than an earlier one allocates nothing. Tensors keep the most rows seen.
  void reserve(std::int64_t rows) {
    if (traits_.waits_for_sizes || backend_.stream().handle == nullptr) return set_rows(rows);
    if (rows > rows_.view().rows) set_rows(rows);
  }
  void set_rows(std::int64_t rows) {
    engine_.reserve(rows);
    for (Tensor* tensor : {&rows_, &out_}) tensor->set_rows(rows);
    if (backward_)
      for (Tensor* tensor : {&dout_, &drows_}) tensor->set_rows(rows);
  }

  template <class T>
  std::vector<T> read(std::span<const T> array) const {
    std::vector<T> host(array.size());
    backend_.memory().copy_to_host(host.data(), array.data(), array.size_bytes());
    return host;
  }

  /// Copies and distinct rows that leave for other ranks.
  void count_sent(RankLoad& load) const {
    const auto experts = read<std::int32_t>(expert_of_);
    const std::int64_t k = shape_.top_k;
    for (std::int64_t t = 0; t < tokens_; ++t) {
      std::uint32_t ranks = 0;
      for (std::int64_t j = 0; j < k; ++j) {
        const std::int64_t e = experts[static_cast<std::size_t>(t * k + j)];
        load.dropped += e < 0;
        if (e < 0 || e / shape_.experts_per_rank() == ranks_.rank()) continue;
        ++load.sent_copies;
        ranks |= 1u << (e / shape_.experts_per_rank());
      }
      load.sent_rows += __builtin_popcount(ranks);
    }
  }
  void count_received(RankLoad& load) const {
    const std::int64_t k = shape_.top_k;
    for (int p = 0; p < group_.size; ++p) {
      if (p == group_.rank) continue;
      const auto* base = reinterpret_cast<const std::int32_t*>(group_.block[group_.rank] + group_.at.row_of);
      const auto rows = read<std::int32_t>(
          {base + p * group_.max_tokens * k, static_cast<std::size_t>(group_.tokens[p] * k)});
      for (std::size_t slot = 0; slot < rows.size(); slot += static_cast<std::size_t>(k)) {
        const auto here =
            std::count_if(&rows[slot], &rows[slot] + k, [](std::int32_t row) { return row >= 0; });
        load.received_rows += here > 0;
        load.received_copies += here;
      }
    }
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
  int comm_sms_;
  std::unique_ptr<PeerMemory> peer_memory_;
  PeerGroup group_;
  std::unique_ptr<PeerKernels> kernels_;
  Buffer storage_;
  std::span<std::int32_t> counts_, offsets_, first_row_;  // [E], [E + 1], [E]
  std::span<std::int32_t> row_of_, local_offsets_;  // [S] slot → row of `plan`; [e + 1] of the received rows
  std::span<std::int32_t> own_end_;                 // [e] where those of own tokens end
  TensorView x_, dy_;                               // of the last step
  std::span<const std::int32_t> expert_of_;         // [S] of the last step
  std::vector<std::int64_t> host_offsets_;          // [e + 1], until settled
  Tensor rows_, out_, dout_, drows_;                // [n, H] by expert, own tokens first
};

PeerGroup group_of(const DispatcherArgs& args, const PeerLayout& layout, std::int64_t max_tokens,
                   const std::vector<std::byte*>& blocks) {
  const Shape& shape = args.shape;
  PeerGroup group{.rank = args.ranks.rank(),
                  .size = args.ranks.size(),
                  .first_rank = args.rank / shape.ep * shape.ep,
                  .experts = shape.experts,
                  .max_tokens = max_tokens,
                  .top_k = shape.top_k,
                  .hidden = shape.hidden,
                  .dtype = shape.dtype,
                  .at = layout,
                  .timeout_s = args.ranks.timeout_s(),
                  .beside_units = args.overlap == Overlap::none ? 0 : args.comm_sms};
  std::copy(blocks.begin(), blocks.end(), group.block);
  for (int p = 0; p < group.size; ++p)
    group.tokens[p] = static_cast<std::int32_t>(shape.tokens_of(group.first_rank + p));
  return group;
}

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
  const PeerLayout layout = peer_layout(args.ranks.size(), shape.experts, max_tokens, shape.top_k,
                                        static_cast<std::size_t>(shape.hidden) * size_of(shape.dtype));
  PeerMemoryResult peers = make_peer_memory(args.ranks, args.backend.memory(), layout.bytes);
  if (!peers.memory) throw EnvironmentError(cat("exchange direct cannot be used here: ", peers.why_not));
  const PeerGroup group = group_of(args, layout, max_tokens, peers.memory->blocks());
  return std::make_unique<DirectDispatcher>(args, std::move(peers.memory), group);
}

}  // namespace moebench
