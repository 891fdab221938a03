// SPDX-License-Identifier: Apache-2.0
// The flags of `moebench memory`.
#include "base/error.h"
#include "base/text.h"
#include "cli/options_flags.h"
#include "suite/axis.h"

namespace moebench {
namespace {

constexpr std::int64_t kMaxGpus = 1000000, kMaxSplit = 65536, kMaxTokens = 1000000000;
constexpr double kMaxOverload = 10000;
constexpr std::string_view kModel = "Which model", kLayout = "How it is spread", kState = "What is kept";
const std::vector<Command> kMemory{Command::memory};

std::vector<std::int64_t> axis(std::string_view name, std::string_view text, std::int64_t max) {
  std::vector<std::int64_t> values;
  for (const std::string& value : expand_axis({.name = name, .number = true, .min = 1, .max = max}, text))
    values.push_back(*to_int(value));
  return values;
}

std::int64_t one(std::string_view name, std::string_view text, std::int64_t max) {
  const auto values = axis(name, text, max);
  if (values.size() != 1) throw UsageError(cat("'", text, "' is not one value"));
  return values.front();
}

double number(std::string_view text, double min, double max) {
  const auto value = to_double(text);
  if (!value || !(*value >= min && *value <= max))
    throw UsageError(cat("'", text, "' is not a number from ", min, " to ", max));
  return *value;
}

std::vector<double> overloads(std::string_view text) {
  std::vector<double> values;
  for (const std::string& part : split(text, ',')) values.push_back(number(trimmed(part), 1, kMaxOverload));
  return values;
}

void set_buffers(MemoryChoices& choices, std::string_view text) {
  for (const auto kind : {ExchangeBuffers::exact, ExchangeBuffers::worst, ExchangeBuffers::per_expert})
    if (text == name_of(kind)) {
      choices.buffers = kind;
      return;
    }
  constexpr std::string_view kCapacity = "capacity:";
  if (!text.starts_with(kCapacity))
    throw_unknown("kind of buffers", text, {"exact", "worst", "per-expert", "capacity:F"});
  choices.buffers = ExchangeBuffers::capacity;
  choices.capacity_factor = number(text.substr(kCapacity.size()), 0.01, kMaxOverload);
}

bool parse_fp8(std::string_view word) {
  if (word != "bf16" && word != "fp8") throw_unknown("number format of weights", word, {"bf16", "fp8"});
  return word == "fp8";
}

std::vector<OptionFlag> layout_flags() {
  return {
      {kModel, "preset", "NAME", "", "a whole model; 'moebench list presets' names them", kMemory,
       [](Options& o, std::string_view v) { o.sweep.preset = v; }},
      {kModel, "tokens", "N", "4096", "of one micro-batch: sequence length times sequences", kMemory,
       [](Options& o, std::string_view v) { o.memory.choices.tokens = one("tokens", v, kMaxTokens); }},
      {kModel, "overload", "F", "1,1.5,2,4", "rows of the fullest GPU over the mean", kMemory,
       [](Options& o, std::string_view v) { o.memory.overloads = overloads(v); }, true},
      {kLayout, "gpus", "N", "", "in all; default: as few as fit at the first overload", kMemory,
       [](Options& o, std::string_view v) { o.memory.gpus = one("gpus", v, kMaxGpus); }},
      {kLayout, "tp", "N", "1",
       "tensor parallelism, with sequence parallelism; without tp, pp, ep many are tried", kMemory,
       [](Options& o, std::string_view v) { o.memory.tp = axis("tp", v, kMaxSplit); }, true},
      {kLayout, "pp", "N", "1", "pipeline stages", kMemory,
       [](Options& o, std::string_view v) { o.memory.pp = axis("pp", v, kMaxSplit); }, true},
      {kLayout, "ep", "N", "1", "GPUs that share the experts", kMemory,
       [](Options& o, std::string_view v) { o.memory.ep = axis("ep", v, kMaxSplit); }, true},
      {kLayout, "vp", "N", "1", "pieces of each stage, interleaved (virtual pipeline)", kMemory,
       [](Options& o, std::string_view v) { o.memory.vp = one("vp", v, kMaxSplit); }},
      {kLayout, "etp", "N", "1", "GPUs that share each expert", kMemory,
       [](Options& o, std::string_view v) { o.memory.etp = one("etp", v, kMaxSplit); }},
      {kLayout, "gpu", "NAME", "h100", "whose memory: h100, h200, a100, b200, gb200, gb300", kMemory,
       [](Options& o, std::string_view v) {
         find_gpu(v);
         o.memory.gpu = v;
       }},
      {kLayout, "gpu-memory", "GIB", "", "memory of one GPU in GiB, instead of --gpu", kMemory,
       [](Options& o, std::string_view v) { o.memory.gpu_gib = number(v, 1, 1e6); }},
  };
}

std::vector<OptionFlag> state_flags() {
  return {
      {kState, "optimizer", "adamw|adamw-bf16|muon", "adamw", "12, 8 or 8 bytes per parameter", kMemory,
       [](Options& o, std::string_view v) { o.memory.choices.optimizer = parse_optimizer(v); }},
      {kState, "no-distributed-optimizer", "", "", "each replica keeps the whole optimizer state", kMemory,
       [](Options& o, std::string_view v) { o.memory.choices.distributed_optimizer = !parse_on(v); }},
      {kState, "offload-optimizer", "", "", "the optimizer state lies in the host's memory", kMemory,
       [](Options& o, std::string_view v) { o.memory.choices.offload_optimizer = parse_on(v); }},
      {kState, "weights", "bf16|fp8", "bf16", "2 or 1 bytes; master weights stay fp32", kMemory,
       [](Options& o, std::string_view v) { o.memory.choices.fp8_weights = parse_fp8(v); }},
      {kState, "recompute", "none|attention|moe|full", "none",
       "what backward computes again instead of keeping it", kMemory,
       [](Options& o, std::string_view v) { o.memory.choices.recompute = parse_recompute(v); }},
      {kState, "exchange-buffers", "exact|worst|per-expert|capacity:F", "exact", "room for rows that arrive",
       kMemory, [](Options& o, std::string_view v) { set_buffers(o.memory.choices, v); }},
  };
}

}  // namespace

std::vector<OptionFlag> memory_flags() {
  std::vector<OptionFlag> flags = layout_flags();
  for (auto& flag : state_flags()) flags.push_back(std::move(flag));
  flags.push_back({"Output", "json", "FILE", "",
                   "write all of it here as JSON; -: stdout, and the table goes to stderr", kMemory,
                   [](Options& o, std::string_view v) { o.json = v; }});
  flags.push_back({"Output", "force", "", "", "replace a file that exists", kMemory,
                   [](Options& o, std::string_view v) { o.force = parse_on(v); }});
  return flags;
}

}  // namespace moebench
