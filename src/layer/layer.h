// SPDX-License-Identifier: Apache-2.0
// The MoE layer, forward and backward, on one rank of an expert-parallel group.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "comm/comm.h"
#include "layer/groups.h"
#include "layer/parameters.h"
#include "layer/routing.h"
#include "layer/trace.h"
#include "moe/cost.h"
#include "moe/workload.h"

namespace moebench {

/// How a layer is run, apart from its shape.
struct LayerOptions {
  std::string engine = "loop";
  bool backward = true;  ///< keep what backward() needs
  int streams = 16;      ///< of engine streams
  ExchangeForm exchange = ExchangeForm::fused;
};

/// T, H … below are this rank's. All tensors live in the backend's memory and all work goes to its stream;
/// alone in its expert-parallel group, and with an engine that does not, no call synchronises the host.
class Layer {
 public:
  /// `groups` and `backend` outlive the layer. Throws UsageError for an engine that cannot run this shape.
  Layer(const Shape& shape, Groups& groups, Backend& backend, const LayerOptions& options);

  /// Writes this rank's share of the weights.
  void load(const Workload& workload) { parameters_.load(workload, backend_); }

  /// x [T, H] → y [T, H].
  void forward(const TensorView& x, const TensorView& y, Trace& trace);
  /// dy [T, H] → dx [T, H] and the gradient of every parameter; after forward() of the same x.
  void backward(const TensorView& x, const TensorView& dy, const TensorView& dx, Trace& trace);
  /// Sums each gradient over the ranks that its parameter's tag names.
  void sync(Trace& trace);

  Parameters& parameters() { return parameters_; }
  const Routing& routing() const { return routing_; }
  /// Whether the engine does `stage` inside `experts`.
  bool fuses(Stage stage, Pass pass) const { return engine_->fuses(stage, pass); }
  /// Whether a pass makes the host wait for queued work: to learn sizes, or because the engine does.
  bool waits_for_device() const { return !alone() || engine_->synchronises_host(); }
  /// The work of the last forward pass on this rank. Synchronises.
  RankLoad load() const;
  /// Rows of each local expert in the last forward pass. Synchronises.
  std::vector<std::int64_t> rows_of_experts() const;

 private:
  /// Alone in the expert-parallel group: rows never travel, and their number is known beforehand.
  bool alone() const { return groups_.expert_parallel().size() == 1; }
  template <class Work>
  void in(Stage stage, Pass pass, Trace& trace, Work work);
  void exchange_sizes();
  void make_room(std::int64_t rows);
  void send_to_experts(const TensorView& home, const TensorView& away);
  void send_home(const TensorView& away, const TensorView& home);
  ExpertsForward experts_args(const TensorView& x) const;

  Shape shape_;
  Groups& groups_;
  Backend& backend_;
  std::unique_ptr<Engine> engine_;
  bool backward_;
  ExchangeForm exchange_;
  Parameters parameters_;
  Routing routing_;
  // Rows where the tokens are, [S, H]; and where the experts are, [n, H]. Alone, one tensor is both.
  Tensor rows_home_, rows_away_;    ///< what goes into the experts
  Tensor out_home_, out_away_;      ///< what comes out of them
  Tensor dout_home_, dout_away_;    ///< its gradient
  Tensor drows_home_, drows_away_;  ///< the gradient of what went in
};

}  // namespace moebench
