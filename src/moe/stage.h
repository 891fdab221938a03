// SPDX-License-Identifier: Apache-2.0
// The stages of the MoE layer as one table: names and order for ranges, reports, schema, figures and tools.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace moebench {

/// In the order of the forward pass; the backward pass runs them in reverse, then `sync`.
enum class Stage { gate, plan, pack, sizes, dispatch, shared, experts, collect, combine, sync };

/// The parts of one training step. `sync` is the gradient synchronisation.
enum class Pass { forward, backward, sync };

struct StageInfo {
  Stage stage;
  std::string_view name;         ///< the word in NVTX ranges, reports, figures and tools/ncu
  bool forward, backward, sync;  ///< the passes that it runs in
  bool crosses_ranks;            ///< moves data between ranks: skipped in a group of one rank
  std::string_view colour;       ///< in every figure
  std::string_view about;        ///< one line for `moebench list stages`
};

/// `plan` and `sizes` are reused from the forward pass: 1 size exchange and 4 row exchanges per step.
inline constexpr std::array kStages{
    StageInfo{Stage::gate, "gate", true, true, false, false, "#CC79A7", "logits, top-k, scores"},
    StageInfo{Stage::plan, "plan", true, false, false, false, "#B6DCCB", "rows per expert, the permutation"},
    StageInfo{Stage::pack, "pack", true, true, false, false, "#5DBB9A", "rows into expert order (permute)"},
    StageInfo{Stage::sizes, "sizes", true, false, false, true, "#F0D264", "exchange of row counts"},
    StageInfo{Stage::dispatch, "dispatch", true, true, false, true, "#E69F00",
              "all-to-all to the experts' ranks"},
    StageInfo{Stage::shared, "shared", true, true, false, false, "#56B4E9",
              "shared experts, if there are any"},
    StageInfo{Stage::experts, "experts", true, true, false, false, "#0A5A9C", "the experts' networks"},
    StageInfo{Stage::collect, "collect", true, true, false, true, "#D55E00",
              "all-to-all back to the tokens' ranks"},
    StageInfo{Stage::combine, "combine", true, true, false, false, "#00755A",
              "weighted sum per token (unpermute)"},
    StageInfo{Stage::sync, "sync", false, false, true, true, "#4D4D4D", "gradients summed over ranks"}};

constexpr const StageInfo& stage_info(Stage stage) { return kStages[static_cast<std::size_t>(stage)]; }
static_assert(std::ranges::all_of(kStages, [](const StageInfo& s) { return &stage_info(s.stage) == &s; }),
              "kStages has one row per Stage, in the order of the enumeration");

constexpr std::string_view name_of(Stage stage) { return stage_info(stage).name; }

/// Whether the stage runs in this pass.
constexpr bool runs_in(const StageInfo& stage, Pass pass) {
  return pass == Pass::forward ? stage.forward : pass == Pass::backward ? stage.backward : stage.sync;
}

/// The stages of a pass in the order in which they run.
template <Pass kPass>
constexpr auto stages_of() {
  constexpr auto kCount = std::ranges::count_if(kStages, [](auto& s) { return runs_in(s, kPass); });
  std::array<Stage, static_cast<std::size_t>(kCount)> stages{};
  std::size_t at = 0;
  for (const StageInfo& stage : kStages)
    if (runs_in(stage, kPass)) stages[at++] = stage.stage;
  if (kPass == Pass::backward) std::ranges::reverse(stages);
  return stages;
}
inline constexpr auto kForwardStages = stages_of<Pass::forward>();
inline constexpr auto kBackwardStages = stages_of<Pass::backward>();

inline constexpr std::array kPasses{Pass::forward, Pass::backward, Pass::sync};

constexpr std::string_view name_of(Pass pass) {
  constexpr std::array<std::string_view, kPasses.size()> kNames{"forward", "backward", "sync"};
  return kNames[static_cast<std::size_t>(pass)];
}

}  // namespace moebench
