// SPDX-License-Identifier: Apache-2.0
#include "suite/presets.h"

#include <vector>

#include "base/text.h"

namespace moebench {
namespace {

constexpr auto kGelu = Activation::gelu;
constexpr auto kSwiglu = Activation::swiglu;

// name, hidden, ffn, experts, top_k, activation, bias, source, note, gate, shared experts. The default gate is topk whatever the preset:
// --gate preset asks for the model's. Biases that experts are ranked by are learnt, so no preset has one.
constexpr Preset kPresets[] = {
    {"fastmoe", 1024, 4096, 8, 2, kGelu, false,
     "FastMoE paper (arXiv 2103.13262), section 5.2; it sweeps the number of experts",
     "the paper names no biases; its published code has them: --bias on"},
    {"granite-3.0-1b-a400m", 1024, 512, 32, 8, kSwiglu, false,
     "config.json of ibm-granite/granite-3.0-1b-a400m-base", ""},
    {"granite-3.0-3b-a800m", 1536, 512, 40, 8, kSwiglu, false,
     "config.json of ibm-granite/granite-3.0-3b-a800m-base", ""},
    {"qwen3-30b-a3b", 2048, 768, 128, 8, kSwiglu, false,
     "config.json of Qwen/Qwen3-30B-A3B (ffn: moe_intermediate_size)", ""},
    {"olmoe-1b-7b",
     2048,
     1024,
     64,
     8,
     kSwiglu,
     false,
     "OLMoE paper (arXiv 2409.02060); config.json of allenai/OLMoE-1B-7B-0924",
     "",
     {"softmax-topk"}},
    {"qwen3-235b-a22b", 4096, 1536, 128, 8, kSwiglu, false,
     "config.json of Qwen/Qwen3-235B-A22B (ffn: moe_intermediate_size)", ""},
    {"gpt-oss-20b", 2880, 2880, 32, 4, kSwiglu, true, "config.json of openai/gpt-oss-20b",
     "its clamp and scale inside SwiGLU and the gate's bias are left out"},
    {"gpt-oss-120b", 2880, 2880, 128, 4, kSwiglu, true, "config.json of openai/gpt-oss-120b",
     "its clamp and scale inside SwiGLU and the gate's bias are left out"},
    {"deepseek-v3",
     7168,
     2048,
     256,
     8,
     kSwiglu,
     false,
     "DeepSeek-V3 report (arXiv 2412.19437); config.json of deepseek-ai/DeepSeek-V3",
     "its shared expert: --shared-experts 1; groups and scale of its gate: --gate preset",
     {"sigmoid", "8:4", "2.5"},
     1},
    {"kimi-k2",
     7168,
     2048,
     384,
     8,
     kSwiglu,
     false,
     "Kimi K2 report (arXiv 2507.20534); config.json of moonshotai/Kimi-K2-Base",
     "its shared expert: --shared-experts 1",
     {"sigmoid", "none", "2.827"},
     1},
    {"phi-3.5-moe", 4096, 6400, 16, 2, kSwiglu, false, "config.json of microsoft/Phi-3.5-MoE-instruct",
     "its gate, SparseMixer, is not here: --gate preset is topk"},
    {"mixtral-8x7b", 4096, 14336, 8, 2, kSwiglu, false,
     "Mixtral paper (arXiv 2401.04088), table 1; config.json of mistralai/Mixtral-8x7B-v0.1", ""},
    {"dbrx", 6144, 10752, 16, 4, kSwiglu, false, "config.json of databricks/dbrx-base (ffn_hidden_size)", ""},
    {"mixtral-8x22b", 6144, 16384, 8, 2, kSwiglu, false, "config.json of mistralai/Mixtral-8x22B-v0.1", ""},
};

}  // namespace

std::span<const Preset> presets() { return kPresets; }

const Preset& find_preset(std::string_view name) {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return preset;
    names.emplace_back(preset.name);
  }
  throw_unknown("preset", name, names);
}

Settings settings_of(const Preset& preset) {
  return {{"hidden", cat(preset.hidden)},
          {"ffn", cat(preset.ffn)},
          {"experts", cat(preset.experts)},
          {"top-k", cat(preset.top_k)},
          {"activation", std::string(name_of(preset.activation))},
          {"bias", preset.bias ? "on" : "off"}};
}

Settings gate_settings_of(const Preset& preset) {
  return {{"gate", std::string(preset.gate.gate)},
          {"groups", std::string(preset.gate.groups)},
          {"gate-scale", std::string(preset.gate.scale)}};
}

}  // namespace moebench
