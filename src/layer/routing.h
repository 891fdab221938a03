// SPDX-License-Identifier: Apache-2.0
// The routing of one step on one rank: what the gate chose for each of this rank's tokens.
#pragma once

#include <cstdint>
#include <span>

#include "base/memory.h"
#include "moe/shape.h"

namespace moebench {

/// T: tokens of this rank, K: experts per token, E: experts. All arrays lie in backend memory.
/// logits, chosen, expert_of and score are written by the gate, dscore by the dispatcher's backward pass, dlogits is
/// scratch.
struct Routing {
  /// `drops`: a slot may go to no expert.
  Routing(const Shape& shape, std::int64_t tokens, Memory& memory, bool drops = false);

  int step = 0;                      ///< whose inputs these are: which noise a gate draws
  std::span<float> logits, dlogits;  // [T, E]
  std::span<float> score, dscore;    // [T, K]
  std::span<std::int32_t> chosen;    // [T, K] K different experts per token, which the scores belong to
  std::span<std::int32_t>
      expert_of;  // [T, K] where each slot goes: chosen, or -1: dropped; without drops one array

 private:
  Buffer storage_;
};

}  // namespace moebench
