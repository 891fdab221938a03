// SPDX-License-Identifier: Apache-2.0
// The token dispatcher: brings a token's rows to its experts and their outputs back.
//
// It owns the permutation, the row buffers, the exchange and their gradients, and runs and traces its own stages:
// plan, pack, sizes, dispatch before the experts; collect, combine after them; the same backward in reverse. A stage
// that it merges with another is not traced; fused_into() names the other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "comm/comm.h"
#include "layer/routing.h"
#include "layer/trace.h"
#include "moe/cost.h"
#include "moe/exchange.h"
#include "moe/shape.h"

namespace moebench {

class Dispatcher {
 public:
  virtual ~Dispatcher() = default;

  /// x [T, H] → the rows of this rank's experts. Reads routing.expert_of (and score where the weighted sum is made
  /// where the experts are).
  virtual void dispatch(const TensorView& x, const Routing& routing, Trace& trace) = 0;
  /// How many batches the engine runs after dispatch() or dispatch_gradient(), one after the other: several if rows
  /// travel meanwhile.
  virtual int batches(Pass /*pass*/) const { return 1; }
  /// What the engine computes in batch i, without the weights; after it has run batch i - 1. First queues what the batch
  /// waits for. Valid until the next dispatch().
  virtual ExpertsForward batch(int i, Trace& trace) = 0;
  /// The experts' outputs → y [T, H] = Σ_k score[t, k] · output of slot (t, k).
  virtual void combine(const Routing& routing, const TensorView& y, Trace& trace) = 0;

  /// dy [T, H] → the gradient of each output row where its expert is, and routing.dscore unless the engine computes
  /// it. After combine() of the same step.
  virtual void dispatch_gradient(const TensorView& dy, const Routing& routing, Trace& trace) = 0;
  /// What the engine differentiates in batch i after dispatch_gradient(), without weights and gradients; else like
  /// batch().
  virtual ExpertsBackward batch_gradient(int i, const Routing& routing, Trace& trace) = 0;
  /// The gradient of the experts' input rows → dx [T, H], summed over a token's rows.
  virtual void combine_gradient(const Routing& routing, const TensorView& dx, Trace& trace) = 0;

  /// The stage that does the work of `stage`; none if it runs by itself.
  virtual std::optional<Stage> fused_into(Stage stage, Pass pass) const = 0;
  /// Whether the stage runs beside others, so that its time is only what they do not hide.
  virtual bool overlaps(Stage /*stage*/, Pass /*pass*/) const { return false; }
  /// Why its calls cannot be recorded in a graph, once settled; empty if they can.
  virtual std::string why_no_graph() const = 0;
  /// Whether a call makes the host wait for the device now.
  virtual bool waits_for_device() const { return !why_no_graph().empty(); }
  /// Every input set has been dispatched once: from now on it may rely on the row counts seen so far.
  virtual void settle() {}
  /// The rows and bytes of the last step on this rank. Waits for the device.
  virtual RankLoad load() const = 0;
  /// Rows of each local expert in the last step. Waits for the device.
  virtual std::vector<std::int64_t> rows_of_experts() const = 0;
};

/// What a dispatcher is made for. All referenced objects outlive it.
struct DispatcherArgs {
  Shape shape;
  int rank = 0;             ///< among all ranks
  std::int64_t tokens = 0;  ///< T: of this rank
  std::int64_t rows = 0;    ///< the most that they have together: no more than their slots
  Comm& ranks;              ///< the expert-parallel group
  Backend& backend;
  Engine& engine;  ///< its traits are read, and reserve() is called when rows grow
  bool backward = true;
  Overlap overlap = Overlap::none;  ///< of exchange direct
  int comm_sms = 0;
};

/// `local` if the group has one rank, whatever `exchange` says. Collective.
std::unique_ptr<Dispatcher> make_dispatcher(Exchange exchange, const DispatcherArgs& args);
std::unique_ptr<Dispatcher> make_local_dispatcher(const DispatcherArgs& args);
std::unique_ptr<Dispatcher> make_all_to_all_dispatcher(const DispatcherArgs& args, ExchangeForm form);
/// Throws EnvironmentError, on every rank, if the ranks cannot share memory.
std::unique_ptr<Dispatcher> make_direct_dispatcher(const DispatcherArgs& args);

}  // namespace moebench
