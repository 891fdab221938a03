// SPDX-License-Identifier: Apache-2.0
// Backend: computes the stages of the layer that need no other rank.
//
// Every function queues work on the backend's one stream and may return before it is done; none
// synchronises unless it says so, none allocates. All tensors live in memory().
// Index arrays are 32-bit: slot = token·K + choice, row = place in the packed order.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/capabilities.h"
#include "backends/engine.h"
#include "backends/gate_rule.h"
#include "backends/peer_kernels.h"
#include "backends/sensors.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/tensor.h"
#include "moe/capacity.h"

namespace moebench {

/// What one rank computes on. Empty or zero where the backend cannot know.
struct DeviceInfo {
  std::string name;  ///< "AMD EPYC 9654" or "NVIDIA H200"
  std::string kind;  ///< "cpu" or "cuda"
  int units = 0;     ///< threads in use, or multiprocessors
  std::size_t memory_bytes = 0;
  std::size_t cache_bytes = 0;                                ///< last level: inputs are rotated past it
  std::vector<std::pair<std::string, std::string>> versions;  ///< libraries and drivers
  std::string bus_id, uuid;  ///< of a GPU: "0000:19:00.0", "GPU-4d2c…"; else empty
};

/// x [T, H], weight [H, E] → logits [T, E] fp32, with the noise that `rule` asks for, the K largest per token, best first,
/// lower expert on a tie, and their scores as `rule` says. The weight is in the format of x or in fp32, and that is the
/// format of the product. K: slots of a token, here and below.
struct GateForward {
  TensorView x, weight;
  std::span<float> logits;            // [T, E]
  std::span<std::int32_t> expert_of;  // [T, K]
  std::span<float> score;             // [T, K]
  std::int64_t top_k;
  GateRule rule = {};
};

/// dscore [T, K] → dlogit; dx [T, H] += dlogit · weightᵀ; dweight [H, E] = xᵀ · dlogit (overwritten), in the format of the
/// weight.
/// expert_of is what the gate chose: K experts per token, also where their slots were dropped.
struct GateBackward {
  TensorView x, weight;
  std::span<const std::int32_t> expert_of;
  std::span<const float> score, dscore;
  std::span<float> dlogits;  // [T, E] scratch
  TensorView dx, dweight;
  std::int64_t top_k;
  GateRule rule = {};
  std::span<const float> logits =
      {};                   // [T, E] of the forward pass; only for rule.differentiates_logits() and losses
  LossFactors losses = {};  // whose gradients are added to dlogit
  std::span<std::int32_t> counts = {};  // [T / losses.group, E] scratch, with losses.aux
};

/// Of the slots that each group of `group` tokens sends to an expert, `rows` stay, by `policy`; the others get -1. A slot that
/// comes with -1 keeps it.
struct LimitRows {
  std::span<const std::int32_t> from;  // [T, K], the experts of a token different or -1
  std::span<std::int32_t> to;          // [T, K], may be the same array
  std::span<const float> score;        // [T, K]
  std::span<std::int32_t> scratch;     // capacity_scratch() words
  std::int64_t top_k, experts;
  std::int64_t group, rows;  // group divides T
  DropPolicy policy;
  /// Before that: a second choice goes nowhere if 2 · its score <= u, with u of its token, in [0, 1) (chance_of()).
  bool second_by_chance = false;
  std::uint64_t chance_key = 0;
  std::int64_t first_token = 0;  ///< of this rank, among all
  bool by_expert = false;        ///< slot e of a token is expert e's, or -1; K = E. With position or probs
};

/// On a grid of 2^-24.
MB_HOST_DEVICE constexpr float chance_of(std::uint64_t key, std::int64_t token) {
  return static_cast<float>(mix(key, static_cast<std::uint64_t>(token)) >> 40) * (1.0f / (1 << 24));
}

// A slot may be dropped: its expert is -1. It has no row, and its row_of is -1.

/// Counts rows per expert and gives each slot its row. by_expert: stable, rows keep slot order within an
/// expert. by_token: row = slot.
struct PlanArgs {
  std::span<const std::int32_t> expert_of;  // [S = T·K], -1: dropped
  RowOrder order;
  std::span<std::int32_t> counts;   // [E]
  std::span<std::int32_t> offsets;  // [E + 1], exclusive sum of counts
  std::span<std::int32_t> row_of;   // [S] slot → row, -1: dropped
  std::span<std::int32_t> slot_of;  // [S] row → slot, written for rows that exist; empty if it is not needed
};

/// rows[row_of[t, k]] = x[t] for every slot that has a row.
struct PackForward {
  TensorView x;                          // [T, H]
  std::span<const std::int32_t> row_of;  // [S]
  TensorView rows;                       // [S, H]
  std::int64_t top_k;
};

/// dx[t] = Σ_k drows[row_of[t, k]] over the slots that have a row, summed in the order of k in fp32; 0 without one.
struct PackBackward {
  TensorView drows;                      // [S, H]
  std::span<const std::int32_t> row_of;  // [S]
  TensorView dx;                         // [T, H]
  std::int64_t top_k;
};

/// Rows between the order of messages, where they lie by sender and then by expert, and that of the experts. Segment i
/// is rows [begin[i], begin[i + 1]) of `messages`, and begins at row place[i] of `by_expert`; it may be empty.
struct Regroup {
  TensorView messages, by_expert;              // [begin.back(), H], [n, H]
  std::span<const std::int32_t> begin, place;  // [segments + 1], [segments] in backend memory
  bool to_messages = false;                    ///< the direction
};

/// y[t] = Σ_k score[t, k] · rows[row_of[t, k]] over the slots that have a row; 0 without one.
struct CombineForward {
  TensorView rows;                       // [S, H]: what the experts returned
  std::span<const std::int32_t> row_of;  // [S]
  std::span<const float> score;          // [T, K]
  TensorView y;                          // [T, H]
  std::int64_t top_k;
};

/// drows[row_of[t, k]] = score[t, k] · dy[t];  dscore[t, k] = <dy[t], rows[row_of[t, k]]>, or if dscore is empty,
/// the engine computes it and rows are not read. dscore of a dropped slot is 0.
struct CombineBackward {
  TensorView dy, rows;                   // [T, H], [S, H]
  std::span<const std::int32_t> row_of;  // [S]
  std::span<const float> score;          // [T, K]
  TensorView drows;                      // [S, H]
  std::span<float> dscore;               // [T, K] or empty
  std::int64_t top_k;
};

/// Points on the backend's time line. Recording is as cheap as the device allows.
class Timestamps {
 public:
  virtual ~Timestamps() = default;
  /// Takes timestamp `index`, 0 <= index < count, at the moment when all work queued so far is done.
  virtual void record(int index) = 0;
  /// Microseconds from timestamp `from` to timestamp `to`. Only after Backend::synchronize().
  virtual double elapsed_us(int from, int to) const = 0;
};

/// Work that was recorded once, to be queued again as a whole.
class Graph {
 public:
  virtual ~Graph() = default;
  /// Queues all of it; neither allocates nor waits.
  virtual void launch() = 0;
};

class Backend : public Capabilities {
 public:
  virtual const DeviceInfo& device() const = 0;
  virtual Memory& memory() = 0;
  virtual StreamView stream() const = 0;
  /// How it multiplies in this format: "tf32 tensor cores, fp32 accumulation".
  virtual std::string math(DType dtype) const = 0;

  /// Throws UsageError naming the engines it has, or saying what why_not() says.
  virtual std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape) = 0;

  /// How many threads it computes with from now on, and engines that are made from now on; 0: as many as it was made with.
  /// Without has_threads() nothing happens.
  virtual void use_threads(int /*threads*/) {}

  virtual std::unique_ptr<Timestamps> make_timestamps(int count) = 0;
  /// Returns when all queued work is done; throws DeviceError if any of it failed.
  virtual void synchronize() = 0;
  /// Called before each sample, outside the timed region (a GPU holds its stream here until release()).
  virtual void hold() {}
  virtual void release() {}
  /// Opens (true) or closes the window that an attached profiler captures. Waits for all queued work.
  virtual void profile(bool /*open*/) {}
  /// Records what `work` queues without running it. The backend and all memory that the work touches outlive the graph.
  /// Throws DeviceError if `work` allocates, waits for the device or does what else cannot be recorded; null without
  /// has_graphs().
  virtual std::unique_ptr<Graph> capture(const std::function<void()>& /*work*/) { return nullptr; }

  /// The device's own instruments; null if it has none that can be read.
  virtual Sensors* sensors() { return nullptr; }
  virtual std::string why_no_sensors() const { return "this backend's devices have no sensors"; }

  /// Writes elements [first, first + tensor.size()) of `field`, rounded to the tensor's dtype.
  virtual void fill(TensorView tensor, const UniformField& field, std::int64_t first) = 0;
  /// Fills the tensor with NaN, so that an unwritten element shows.
  virtual void poison(TensorView tensor) = 0;
  /// Copies fp32 host values in or out, converting. Synchronise.
  virtual void upload(TensorView tensor, std::span<const float> host) = 0;
  virtual void download(std::span<float> host, TensorView tensor) = 0;

  virtual void gate(const GateForward& args) = 0;
  virtual void gate(const GateBackward& args) = 0;
  virtual void limit(const LimitRows& args) = 0;
  virtual void plan(const PlanArgs& args) = 0;
  virtual void pack(const PackForward& args) = 0;
  virtual void pack(const PackBackward& args) = 0;
  virtual void regroup(const Regroup& args) = 0;
  virtual void combine(const CombineForward& args) = 0;
  virtual void combine(const CombineBackward& args) = 0;

  /// The kernels of `--exchange direct` over the blocks of `group`; null if this backend has none.
  virtual std::unique_ptr<PeerKernels> make_peer_kernels(const PeerGroup& /*group*/) { return nullptr; }

  /// c [M, N] = a [M, K] · b [K, N], the best dense product this backend has: for ceilings and baselines.
  virtual void gemm(TensorView a, TensorView b, TensorView c) = 0;
  /// Elementwise activation of `in` [n, F or 2F] into `out` [n, F].
  virtual void activate(Activation activation, TensorView in, TensorView out) = 0;
  /// to += from, in fp32, rounded once. Both [n, m].
  virtual void add(TensorView from, TensorView to) = 0;
  /// to = from, the best copy this backend has: for the memory ceiling.
  virtual void copy(TensorView from, TensorView to) = 0;
};

}  // namespace moebench
