// SPDX-License-Identifier: Apache-2.0
// The MoE layers of published models.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "moe/shape.h"
#include "suite/flag.h"

namespace moebench {

/// The gate of a model, in the words of --gate, --groups and --gate-scale.
struct PresetGate {
  std::string_view gate = "topk", groups = "none", scale = "1";
};

/// The shape of one model's MoE layer, as published. Tokens, dtype and ranks are the user's to choose.
struct Preset {
  std::string_view name;
  std::int64_t hidden, ffn, experts, top_k;
  Activation activation;
  bool bias;
  std::string_view source;  ///< where the numbers stand
  std::string_view note;    ///< what of the model's layer is left out; empty if nothing
  PresetGate gate = {};
  std::int64_t shared_experts = 0;  ///< of the model; off unless --shared-experts asks for them
};

/// The paper's, then real models by the size of one expert.
std::span<const Preset> presets();
/// Throws UsageError naming the nearest preset.
const Preset& find_preset(std::string_view name);
Settings settings_of(const Preset& preset);
/// What --gate preset stands for.
Settings gate_settings_of(const Preset& preset);

}  // namespace moebench
