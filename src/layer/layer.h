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
};

/// T, H … below are this rank's. All tensors live in the backend's memory and all work goes to its stream;
/// with one rank and an engine that does not, no call synchronises the host.
class Layer {
 public:
  /// `groups` and `backend` outlive the layer. Throws UsageError for an engine that cannot run this shape.
  Layer(const Shape& shape, Groups& groups, Backend& backend, const LayerOptions& options);

  /// Writes this rank's share of the weights.
  void load(const Workload& workload);

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
  /// The work of the last forward pass on this rank. Synchronises.
  RankLoad load() const;
  /// Rows of each local expert in the last forward pass. Synchronises.
  std::vector<std::int64_t> rows_of_experts() const;

 private:
  void exchange_sizes();
  void exchange_rows(const TensorView& from, const TensorView& to, bool towards_experts);
  ExpertsForward experts_args();
  bool alone() const { return groups_.expert_parallel().size() == 1; }

  Shape shape_;
  Groups& groups_;
  Backend& backend_;
  std::unique_ptr<Engine> engine_;
  Parameters parameters_;
  Routing routing_;
  Tensor packed_, received_;        ///< rows in (rank, expert) order at home, and in expert order where they are computed
  Tensor computed_, collected_;     ///< their outputs there, and back at home
  Tensor grad_home_, grad_away_;    ///< gradients of rows: at home, and at the experts
  Tensor grad_input_;               ///< of the received rows
};

}  // namespace moebench
