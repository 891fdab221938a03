// SPDX-License-Identifier: Apache-2.0
// What each stage must do: floating-point operations, bytes of memory, bytes of link, messages.
// Derivations in docs/formulas.md. Only matrix products count as FLOPs, as in the paper.
#pragma once

#include <cstdint>

#include "moe/shape.h"
#include "moe/stage.h"

namespace moebench {

/// The data-dependent part of a rank's work in one step.
struct RankLoad {
  std::int64_t tokens = 0;          ///< tokens this rank holds
  std::int64_t rows = 0;            ///< rows its experts receive
  std::int64_t active_experts = 0;  ///< local experts with at least one row
  std::int64_t sent_rows = 0;       ///< rows that leave for another rank in dispatch
  std::int64_t received_rows = 0;   ///< rows that arrive from another rank in dispatch
  int peers = 0;                    ///< other ranks of the expert-parallel group
  std::int64_t dropped = 0;         ///< slots of this rank's tokens that go to no expert
  bool deduplicated = false;        ///< a token's row leaves once per rank; else once per expert
  bool returns_by_slot = false;  ///< of those: rows return once per expert, stored by the experts' products
  /// Rows that leave and arrive if each is counted once per expert; set where they are deduplicated.
  std::int64_t sent_copies = 0, received_copies = 0;
};

/// Least work of one stage on one rank. `bytes`: each input read once, each output written once.
struct StageCost {
  double flops = 0;
  double bytes = 0;
  double link_bytes = 0;  ///< the larger of sent and received: links are full duplex
  int messages = 0;       ///< sequential message starts, each at least one link latency
  bool overlaps = false;  ///< what crosses the link may do so beside the rest

  StageCost& operator+=(const StageCost& other);
};

StageCost cost_of(const Shape& shape, const RankLoad& load, Stage stage, Pass pass);

/// Of stage `gate` if it keeps choices and scores only: the products, and what goes in and out. Stage `gate` of
/// cost_of(); a gate that keeps more adds to it.
StageCost gate_cost(const Shape& shape, const RankLoad& load, Pass pass);

/// Sum over the stages of a pass: with the useful FLOPs 4·rows·H·F (GELU) or 6·rows·H·F (SwiGLU)
/// plus 2·tokens·H·E forward, and twice that backward; shared experts add their own.
StageCost cost_of(const Shape& shape, const RankLoad& load, Pass pass);

/// Bytes that one rank of the layer needs, from the shape alone: weights, gradients, activations,
/// with rows spread evenly. For refusing a case before allocating.
struct MemoryEstimate {
  double weights = 0, gradients = 0, activations = 0, inputs = 0;
  double workspace = 0;  ///< what measuring needs besides; none for the layer alone
  double host = 0;       ///< copies on the host, beside the backend's memory: not in total()
  double total() const { return weights + gradients + activations + inputs + workspace; }
};
/// `rows`: that the rank's experts get, 0 for an even share.
MemoryEstimate estimate_memory(const Shape& shape, bool backward, int input_sets, double rows = 0);

}  // namespace moebench
