// SPDX-License-Identifier: Apache-2.0
// One rank holds every expert: rows are permuted, and none travels. No call waits for the device.
#include "base/bump_allocator.h"
#include "layer/dispatch/dispatcher.h"
#include "layer/run_stage.h"

namespace moebench {
namespace {

class LocalDispatcher final : public Dispatcher {
 public:
  explicit LocalDispatcher(const DispatcherArgs& args)
      : shape_(args.shape), backend_(args.backend), traits_(args.engine.traits()), tokens_(args.tokens) {
    const std::int64_t slots = tokens_ * shape_.slots_per_token();
    storage_ = allocate_together(backend_.memory(), [&](BumpAllocator& allocator) {
      allocator.allocate(counts_, shape_.experts);
      allocator.allocate(offsets_, shape_.experts + 1);
      allocator.allocate(row_of_, slots);
      if (traits_.gathers_input) allocator.allocate(slot_of_, slots);
    });
    const auto rows = [&](std::int64_t n) {
      return Tensor(backend_.memory(), shape_.dtype, n, shape_.hidden);
    };
    const std::int64_t most = traits_.row_order == RowOrder::by_token ? slots : args.rows;
    if (!traits_.gathers_input) rows_ = rows(most);
    out_ = rows(most);
    if (args.backward) dout_ = rows(most), drows_ = rows(most);
    args.engine.reserve(most);
  }

  void dispatch(const TensorView& x, const Routing& routing, Trace& trace) override {
    expert_of_ = routing.expert_of;
    run_stage(Stage::plan, Pass::forward, trace, [&] {
      backend_.plan({.expert_of = routing.expert_of,
                     .order = traits_.row_order,
                     .counts = counts_,
                     .offsets = offsets_,
                     .row_of = row_of_,
                     .slot_of = slot_of_});
    });
    x_ = traits_.gathers_input ? x : rows_.view();
    if (traits_.gathers_input) return;
    run_stage(Stage::pack, Pass::forward, trace, [&] {
      backend_.pack(PackForward{.x = x, .row_of = row_of_, .rows = rows_, .top_k = shape_.slots_per_token()});
    });
  }

  ExpertsForward batch(int, Trace&) override {
    ExpertsForward batch{.x = x_, .offsets = offsets_, .slot_of = slot_of_, .out = out_};
    if (traits_.row_order == RowOrder::by_token) batch.expert_of_row = expert_of_;
    return batch;
  }

  void combine(const Routing& routing, const TensorView& y, Trace& trace) override {
    run_stage(Stage::combine, Pass::forward, trace, [&] {
      backend_.combine(CombineForward{.rows = out_,
                                      .row_of = row_of_,
                                      .score = routing.score,
                                      .y = y,
                                      .top_k = shape_.slots_per_token()});
    });
  }

  void dispatch_gradient(const TensorView& dy, const Routing& routing, Trace& trace) override {
    run_stage(Stage::combine, Pass::backward, trace, [&] {
      backend_.combine(
          CombineBackward{.dy = dy,
                          .rows = out_,
                          .row_of = row_of_,
                          .score = routing.score,
                          .drows = dout_,
                          .dscore = traits_.computes_dscore ? std::span<float>{} : routing.dscore,
                          .top_k = shape_.slots_per_token()});
    });
  }

  ExpertsBackward batch_gradient(int, const Routing& routing, Trace& trace) override {
    return {.forward = batch(0, trace),
            .dout = dout_,
            .dx = drows_,
            .scores = {.row_of = row_of_, .score = routing.score, .dscore = routing.dscore}};
  }

  void combine_gradient(const Routing&, const TensorView& dx, Trace& trace) override {
    run_stage(Stage::pack, Pass::backward, trace, [&] {
      backend_.pack(
          PackBackward{.drows = drows_, .row_of = row_of_, .dx = dx, .top_k = shape_.slots_per_token()});
    });
  }

  std::optional<Stage> fused_into(Stage stage, Pass pass) const override {
    if (stage == Stage::pack && pass == Pass::forward && traits_.gathers_input) return Stage::experts;
    return {};
  }
  std::string why_no_graph() const override { return {}; }

  RankLoad load() const override {
    RankLoad load{.tokens = tokens_};
    for (const std::int64_t count : rows_of_experts()) {
      load.rows += count;
      load.active_experts += count > 0;
    }
    load.dropped = tokens_ * shape_.slots_per_token() - load.rows;
    return load;
  }
  std::vector<std::int64_t> rows_of_experts() const override {
    std::vector<std::int32_t> counts(counts_.size());
    backend_.memory().copy_to_host(counts.data(), counts_.data(), counts_.size_bytes());
    return {counts.begin(), counts.end()};
  }

 private:
  Shape shape_;
  Backend& backend_;
  EngineTraits traits_;
  std::int64_t tokens_;
  Buffer storage_;
  std::span<std::int32_t> counts_, offsets_;  // [E], [E + 1]
  std::span<std::int32_t> row_of_,
      slot_of_;  // [S] slot → row, and back; the latter only if the engine gathers
  std::span<const std::int32_t> expert_of_;  // [S] of the last step
  TensorView x_;                             // what the engine reads: rows_, or the tokens
  Tensor rows_, out_, dout_, drows_;         // [rows, H] in expert order
};

}  // namespace

std::unique_ptr<Dispatcher> make_local_dispatcher(const DispatcherArgs& args) {
  return std::make_unique<LocalDispatcher>(args);
}

std::unique_ptr<Dispatcher> make_dispatcher(Exchange exchange, const DispatcherArgs& args) {
  if (args.ranks.size() == 1) return make_local_dispatcher(args);
  switch (exchange) {
    case Exchange::fused:
      return make_all_to_all_dispatcher(args, ExchangeForm::fused);
    case Exchange::direct:
      return make_direct_dispatcher(args);
    case Exchange::per_expert:
      return make_all_to_all_dispatcher(args, ExchangeForm::per_expert);
  }
  MB_ASSERT(false);
}

}  // namespace moebench
