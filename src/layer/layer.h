// SPDX-License-Identifier: Apache-2.0
// The MoE layer, forward and backward, on one rank of an expert-parallel group.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "layer/dispatch/dispatcher.h"
#include "layer/gates/capacity.h"
#include "layer/gates/gate.h"
#include "layer/gates/loss.h"
#include "layer/gates/replayed.h"
#include "layer/groups.h"
#include "layer/parameters.h"
#include "layer/routing.h"
#include "layer/shared_experts.h"
#include "layer/trace.h"
#include "moe/gate_options.h"
#include "moe/load.h"
#include "moe/workload.h"

namespace moebench {

/// How a layer is run, apart from its shape.
struct LayerOptions {
  std::string engine = "loop";
  bool backward = true;  ///< keep what backward() needs
  int streams = 16;      ///< of engine streams
  Exchange exchange = Exchange::fused;
  Overlap overlap = Overlap::none;  ///< of exchange direct
  int comm_sms = 16;                ///< multiprocessors of an exchange beside the experts
  const GateEntry* gate = &default_gate();
  GateOptions gate_options = {};
  int bias_steps = 1;    ///< routing steps that have a bias each, of a gate whose bias moves
  bool replays = false;  ///< the gate's choice is replaced by what prepare_replay() was given
};

/// T, H … below are this rank's. All tensors live in the backend's memory and all work goes to its stream. No call
/// waits for the device unless waits_for_device().
class Layer {
 public:
  /// `groups` and `backend` outlive the layer; shape.slots is slots_of() the gate. Throws UsageError for an engine that cannot
  /// run this shape.
  Layer(const Shape& shape, Groups& groups, Backend& backend, const LayerOptions& options);

  /// Writes this rank's share of the weights.
  void load(const Workload& workload) { parameters_.load(workload, backend_); }

  /// Of a layer that replays: keeps the experts [T, K] of input step `step`, whose x this is. Steps in order from 0, after
  /// load(). Waits for the device.
  void prepare_replay(int step, const TensorView& x, std::span<const std::int32_t> experts);
  bool replays() const { return replayed_ != nullptr; }
  /// Of a gate whose bias moves: sets that of routing step `step` [E], runs the gate on its x and returns how many of this
  /// rank's choices are of each expert [E], before slots are dropped. After load(). Waits for the device.
  std::vector<std::int64_t> count_choices(int step, const TensorView& x, std::span<const float> bias);
  std::int64_t experts() const { return shape_.experts; }

  /// x [T, H] → y [T, H]. `step`: whose inputs they are, for gates with noise and what is replayed.
  void forward(const TensorView& x, const TensorView& y, Trace& trace, int step = 0);
  /// dy [T, H] → dx [T, H] and the gradient of every parameter; after forward() of the same x.
  void backward(const TensorView& x, const TensorView& dy, const TensorView& dx, Trace& trace);
  /// Sums each gradient over the ranks that its parameter's tag names.
  void sync(Trace& trace);

  Parameters& parameters() { return parameters_; }
  const Routing& routing() const { return routing_; }
  const GateDefinition& gate() const { return gate_->definition(); }
  /// Which slots are dropped behind the gate.
  DropRule drop_rule() const { return drop_rule_of(gate_entry_, gate_options_); }
  /// Whether a slot may go to no expert.
  bool may_drop() const { return drop_rule().drops() || gate().may_drop(); }
  /// Least work of a stage for this load.
  StageCost cost(const RankLoad& load, Stage stage, Pass pass) const;
  /// The stage that does the work of `stage`; none if it runs by itself.
  std::optional<Stage> fused_into(Stage stage, Pass pass) const {
    return dispatcher_->fused_into(stage, pass);
  }
  /// Whether the stage is a part of this layer: `shared` only with shared experts.
  bool has(Stage stage) const { return stage != Stage::shared || shared_; }
  /// Whether the stage runs beside others: its time is then what they do not hide.
  bool overlaps(Stage stage, Pass pass) const { return dispatcher_->overlaps(stage, pass); }
  /// Why a pass cannot be recorded in a graph, once settled: the host waits in it. Empty if it can.
  std::string why_no_graph() const;
  /// Every input set has run once: the dispatcher may rely on the row counts seen so far.
  void settle() { dispatcher_->settle(); }
  /// Whether a pass makes the host wait for queued work: to learn sizes, or because the engine does.
  bool waits_for_device() const { return dispatcher_->waits_for_device() || !why_no_graph().empty(); }
  /// The work of the last forward pass on this rank. Waits for the device.
  RankLoad load() const { return dispatcher_->load(); }
  const LossOptions& loss_options() const { return gate_options_.losses; }
  /// This rank's share of the gate's losses in the last forward pass. Waits for the device.
  GateLossValues losses() const;
  /// What became of the slots of this rank's tokens in the last forward pass. Waits for the device.
  Drops drops() const;
  /// Rows of each local expert in the last forward pass. Waits for the device.
  std::vector<std::int64_t> rows_of_experts() const { return dispatcher_->rows_of_experts(); }

 private:
  Shape shape_;
  Groups& groups_;
  Backend& backend_;
  std::string engine_name_;
  std::unique_ptr<Engine> engine_;
  Parameters parameters_;
  const GateEntry& gate_entry_;
  GateOptions gate_options_;
  std::unique_ptr<Gate> gate_;
  ReplayedGate* replayed_ = nullptr;  ///< gate_, if it replays
  Routing routing_;
  std::unique_ptr<SharedExperts> shared_;  ///< null if there are none
  std::unique_ptr<Dispatcher> dispatcher_;
};

}  // namespace moebench
