// SPDX-License-Identifier: Apache-2.0
// Memory of one GPU while a whole model is trained (docs/projection.md, "Memory"). Pure arithmetic: no device is asked.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "moe/model.h"
#include "project/layout.h"

namespace moebench {

/// What is kept for each parameter beside weight and gradient, in bytes: adamw: fp32 master weight and two fp32 moments
/// (12); adamw_bf16: moments in bf16 (8); muon: master weight and one moment (8).
enum class OptimizerKind { adamw, adamw_bf16, muon };
/// What is computed again in backward instead of kept: the attention inside its projections, the experts' rows, or the
/// whole layer but its input.
enum class Recompute { none, attention, moe, full };
/// How rows are received. exact: as many as come, after sizes were exchanged. worst: every token of the EP group.
/// per_expert: the same for each local expert ([L, P, T, H], low-latency layouts). capacity: a bound for each expert.
enum class ExchangeBuffers { exact, worst, per_expert, capacity };

std::string_view name_of(OptimizerKind kind);
std::string_view name_of(Recompute recompute);
std::string_view name_of(ExchangeBuffers buffers);
/// Throw UsageError naming the valid words.
OptimizerKind parse_optimizer(std::string_view word);
Recompute parse_recompute(std::string_view word);

struct MemoryChoices {
  OptimizerKind optimizer = OptimizerKind::adamw;
  bool distributed_optimizer = true;  ///< its state is split over the replicas
  bool offload_optimizer = false;     ///< its state lies in the host's memory
  bool fp8_weights = false;           ///< weights are kept in one byte
  Recompute recompute = Recompute::none;
  ExchangeBuffers buffers = ExchangeBuffers::exact;
  double capacity_factor = 1;
  std::int64_t tokens = 4096;  ///< of one micro-batch: sequence length times sequences
};

/// Parameters that the fullest GPU holds.
struct HeldParameters {
  double experts = 0, rest = 0;
};
HeldParameters held_parameters(const Model& model, const Layout& layout);

/// Bytes per parameter of weight, gradient and optimizer, with `replicas` to split the last over.
struct StateBytes {
  double weight = 2, gradient = 4, optimizer = 0;
};
StateBytes state_bytes(const MemoryChoices& choices, double replicas);

/// Bytes that one layer keeps for backward of one micro-batch of `tokens` tokens, bf16, flash attention, nothing
/// recomputed; in full and not split over GPUs. `overload`: rows of the fullest GPU over the mean.
double attention_activations(const Model& model, double tokens);
double moe_activations(const Model& model, double tokens, double overload);
double dense_activations(const Model& model, double tokens);
/// Micro-batches under way, in multiples of the layers of the whole model.
double layers_in_flight(const Layout& layout);

/// Bytes of one GPU.
struct MemoryUse {
  double weights = 0, gradients = 0, optimizer = 0, activations = 0;
  double exchange = 0;  ///< rows under way
  double reserved = 0;  ///< what NCCL and the framework take

  double buffers() const { return exchange + reserved; }
  double total() const { return weights + gradients + optimizer + activations + buffers(); }
};
/// The layout must be possible (why_not is empty).
MemoryUse memory_of(const Model& model, const Layout& layout, const MemoryChoices& choices, double overload);

/// What one GPU has.
struct GpuMemory {
  std::string_view name;
  double bytes = 0;
  std::string_view provenance;  ///< "measured", "published" or "given"
  std::string_view source;
};
/// Throws UsageError naming the nearest one.
GpuMemory find_gpu(std::string_view name);

/// How a layout fits.
struct Fit {
  MemoryUse use;
  double overload = 1;
  double free = 0;              ///< bytes; negative if it does not fit
  std::int64_t max_tokens = 0;  ///< of a micro-batch; 0 if not even one fits
  /// The fewest GPUs on which this split of the model fits: more only add replicas. Nothing if none do.
  std::optional<std::int64_t> smallest_gpus;
  double min_shortfall = 0;  ///< bytes missing on any number of GPUs up to a million; 0 if some number fits
};
Fit fit_of(const Model& model, const Layout& layout, const MemoryChoices& choices, double overload,
           double gpu_bytes);

}  // namespace moebench
