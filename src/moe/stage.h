// SPDX-License-Identifier: Apache-2.0
// The stages of the MoE layer: one word each, the same everywhere (enumerator, file, NVTX range, record).
#pragma once

#include <array>
#include <string_view>

namespace moebench {

/// In the order of the forward pass; the backward pass runs them in reverse, then `sync`.
enum class Stage { gate, plan, pack, sizes, dispatch, experts, collect, combine, sync };

/// The parts of one training step. `sync` is the gradient synchronisation.
enum class Pass { forward, backward, sync };

inline constexpr std::array kForwardStages{Stage::gate,     Stage::plan,    Stage::pack,    Stage::sizes,
                                           Stage::dispatch, Stage::experts, Stage::collect, Stage::combine};
/// `plan` and `sizes` are reused from the forward pass: 1 size exchange and 4 row exchanges per step.
inline constexpr std::array kBackwardStages{Stage::combine,  Stage::collect, Stage::experts,
                                            Stage::dispatch, Stage::pack,    Stage::gate};

constexpr std::string_view name_of(Stage stage) {
  constexpr std::array<std::string_view, 9> kNames{"gate",    "plan",    "pack",    "sizes", "dispatch",
                                                   "experts", "collect", "combine", "sync"};
  return kNames[static_cast<std::size_t>(stage)];
}

constexpr std::string_view name_of(Pass pass) {
  constexpr std::array<std::string_view, 3> kNames{"forward", "backward", "sync"};
  return kNames[static_cast<std::size_t>(pass)];
}

}  // namespace moebench
