// SPDX-License-Identifier: Apache-2.0
#include "project/memory.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "project/parameters.h"

namespace moebench {
namespace {

constexpr double kBf16 = 2, kFp32 = 4;
constexpr double kGiB = 1024.0 * 1024 * 1024;
/// What NCCL takes at 2 to 8 GPUs (0.34 to 0.39 GiB), and a framework's context, libraries and fragments: nccl_mem and
/// other_mem of aiconfigurator's system files (ai-dynamo/aiconfigurator 095f58a).
constexpr double kNcclBytes = 0.36 * kGiB;
constexpr double kFrameworkBytes = 3.5e9;
constexpr double kMaxGpus = 1e6;  // nothing larger is proposed

constexpr Words<OptimizerKind, 3> kOptimizers{{{
    {OptimizerKind::adamw, "adamw"},
    {OptimizerKind::adamw_bf16, "adamw-bf16"},
    {OptimizerKind::muon, "muon"},
}}};
constexpr Words<Recompute, 4> kRecomputes{{{
    {Recompute::none, "none"},
    {Recompute::attention, "attention"},
    {Recompute::moe, "moe"},
    {Recompute::full, "full"},
}}};
constexpr Words<ExchangeBuffers, 4> kBuffers{{{
    {ExchangeBuffers::exact, "exact"},
    {ExchangeBuffers::worst, "worst"},
    {ExchangeBuffers::per_expert, "per-expert"},
    {ExchangeBuffers::capacity, "capacity"},
}}};

constexpr GpuMemory kGpus[] = {
    {"h100", 85017493504.0, "measured", "what the CUDA driver says of an NVIDIA H100 80GB HBM3"},
    {"h200", 150109880320.0, "measured", "what the CUDA driver says of an NVIDIA H200"},
    {"a100", 80e9, "published", "NVIDIA's data sheet of the A100 80GB"},
    {"b200", 180e9, "published", "NVIDIA's data sheet of HGX B200"},
    {"gb200", 186e9, "published", "NVIDIA's data sheet of GB200 NVL72"},
    {"gb300", 279e9, "published", "NVIDIA's data sheet of GB300 NVL72"},
};

double real(std::int64_t value) { return static_cast<double>(value); }

/// The part of a layer's activations that stays when `what` is computed again: 4TH, and the latents of MLA.
double attention_inputs(const Model& model, double tokens) {
  const Attention& a = model.attention;
  // Latents before and after their norm; the key's rotary part has none.
  const double latents =
      a.kind == Attention::Kind::mla ? 2 * real(a.q_rank + a.kv_rank) + real(a.rope_dim) : 0;
  return 2 * kBf16 * tokens * real(model.hidden) + kBf16 * tokens * latents;
}

double network_inputs(const Model& model, double tokens) { return 2 * kBf16 * tokens * real(model.hidden); }

/// Bytes kept for every layer and micro-batch under way, and those of the one layer that is being computed again.
struct Kept {
  double per_layer = 0, once = 0;
};

Kept kept(const Model& model, const MemoryChoices& choices, double tokens, double overload) {
  const double attention = attention_activations(model, tokens),
               moe = moe_activations(model, tokens, overload);
  const double dense = dense_activations(model, tokens);
  const double moe_share = real(model.moe_layers()) / real(model.layers);
  const double network = moe_share * moe + (1 - moe_share) * dense;
  switch (choices.recompute) {
    case Recompute::none:
      break;
    case Recompute::attention:
      return {attention_inputs(model, tokens) + network, attention - attention_inputs(model, tokens)};
    case Recompute::moe: {
      const double inputs = network_inputs(model, tokens);
      return {attention + moe_share * inputs + (1 - moe_share) * dense, moe - inputs};
    }
    case Recompute::full:
      return {kBf16 * tokens * real(model.hidden), attention + std::max(moe, model.dense_layers ? dense : 0)};
  }
  return {attention + network, 0};
}

/// Rows that leave, packed, and room for those that come; what is received in exact number is kept for backward, and
/// counted there.
double exchange_bytes(const Model& model, const Layout& layout, const MemoryChoices& choices, double tokens) {
  if (layout.ep == 1) return 0;
  const double row = kBf16 * real(model.hidden), sent = tokens * real(model.top_k) * row;
  const double received = tokens * real(layout.ep) * row;
  switch (choices.buffers) {
    case ExchangeBuffers::exact:
      return sent;
    case ExchangeBuffers::worst:
      return sent + received;
    case ExchangeBuffers::per_expert:
      return sent + received * real(model.experts / layout.ep);
    case ExchangeBuffers::capacity:
      return sent + sent * choices.capacity_factor;
  }
  return sent;
}

/// The optimizer's bytes per parameter if one GPU keeps all of it.
double optimizer_bytes(const MemoryChoices& choices) {
  if (choices.offload_optimizer) return 0;
  return choices.optimizer == OptimizerKind::adamw ? 12 : 8;
}

}  // namespace

std::string_view name_of(OptimizerKind kind) { return kOptimizers.name(kind); }
std::string_view name_of(Recompute recompute) { return kRecomputes.name(recompute); }
std::string_view name_of(ExchangeBuffers buffers) { return kBuffers.name(buffers); }
OptimizerKind parse_optimizer(std::string_view word) { return kOptimizers.parse("optimizer", word); }
Recompute parse_recompute(std::string_view word) { return kRecomputes.parse("recompute choice", word); }

GpuMemory find_gpu(std::string_view name) {
  std::vector<std::string> names;
  for (const GpuMemory& gpu : kGpus) {
    if (gpu.name == name) return gpu;
    names.emplace_back(gpu.name);
  }
  throw_unknown("GPU", name, names);
}

HeldParameters held_parameters(const Model& model, const Layout& layout) {
  const ParameterCounts counts = parameters_of(model);
  const double stages = real(layout.pp);
  // The first stage has the embeddings and the last one the output head; one stage has both.
  const double tables = layout.pp == 1 ? counts.tables : table_parameters(model);
  return {.experts = counts.experts / (stages * real(layout.ep * layout.etp)),
          .rest = (counts.attention + counts.shared + counts.dense) / (stages * real(layout.tp)) +
                  counts.router / stages + tables / real(layout.tp)};
}

StateBytes state_bytes(const MemoryChoices& choices, double replicas) {
  return {.weight = choices.fp8_weights ? 1.0 : kBf16,
          .gradient = kFp32,
          .optimizer = optimizer_bytes(choices) / (choices.distributed_optimizer ? replicas : 1)};
}

double attention_activations(const Model& model, double tokens) {
  const Attention& a = model.attention;
  // Query, key, value and output of every head.
  return attention_inputs(model, tokens) +
         kBf16 * tokens * real(a.heads) * (2 * real(a.query_dim()) + 2 * real(a.output_dim()));
}

double moe_activations(const Model& model, double tokens, double overload) {
  const double inside = real(model.matrices * model.ffn);
  return network_inputs(model, tokens) +
         kBf16 * real(model.top_k) * tokens * (real(model.hidden) + inside) * overload +
         kBf16 * tokens * real(model.shared_experts) * inside;
}

double dense_activations(const Model& model, double tokens) {
  return network_inputs(model, tokens) + kBf16 * tokens * real(model.matrices * model.dense_ffn);
}

double layers_in_flight(const Layout& layout) {
  return layout.vp == 1 ? 1 : 1 + real(layout.pp - 1) / real(layout.pp * layout.vp);
}

MemoryUse memory_of(const Model& model, const Layout& layout, const MemoryChoices& choices, double overload) {
  const HeldParameters held = held_parameters(model, layout);
  const StateBytes rest = state_bytes(choices, real(layout.dp()));
  const StateBytes experts = state_bytes(choices, real(layout.expert_dp()));
  const double tokens = real(choices.tokens) / real(layout.tp);  // sequence parallelism
  const Kept activations = kept(model, choices, tokens, overload);
  // Logits of the last stage, which with several stages has fewer micro-batches under way than the first.
  const double logits =
      layout.pp == 1 ? kFp32 * real(choices.tokens) * real(model.vocabulary) / real(layout.tp) : 0;
  return {.weights = held.experts * experts.weight + held.rest * rest.weight,
          .gradients = held.experts * experts.gradient + held.rest * rest.gradient,
          .optimizer = held.experts * experts.optimizer + held.rest * rest.optimizer,
          .activations = real(model.layers) * layers_in_flight(layout) * activations.per_layer +
                         activations.once + logits,
          .exchange = exchange_bytes(model, layout, choices, tokens),
          .reserved = kNcclBytes + kFrameworkBytes};
}

Fit fit_of(const Model& model, const Layout& layout, const MemoryChoices& choices, double overload,
           double gpu_bytes) {
  Fit fit{.use = memory_of(model, layout, choices, overload), .overload = overload};
  const MemoryUse& use = fit.use;
  fit.free = gpu_bytes - use.total();
  const double per_token = (use.activations + use.exchange) / real(choices.tokens);
  const double room = gpu_bytes - (use.total() - use.activations - use.exchange);
  fit.max_tokens = room > 0 ? static_cast<std::int64_t>(room / per_token) : 0;
  // Of all this only the optimizer's share falls with more GPUs, as 1/GPUs.
  const double split = choices.distributed_optimizer ? use.optimizer * real(layout.gpus) : 0;
  const double fixed = use.total() - split / real(layout.gpus);
  fit.min_shortfall = std::max(0.0, fixed + split / kMaxGpus - gpu_bytes);
  if (fit.min_shortfall > 0) return fit;
  const double units = std::ceil(split / std::max(gpu_bytes - fixed, split / kMaxGpus) / real(layout.unit()));
  fit.smallest_gpus = std::max<std::int64_t>(1, static_cast<std::int64_t>(units)) * layout.unit();
  return fit;
}

}  // namespace moebench
