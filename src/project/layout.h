// SPDX-License-Identifier: Apache-2.0
// How a model is spread over GPUs.
#pragma once

#include <cstdint>
#include <string>

#include "moe/model.h"

namespace moebench {

/// Attention, shared experts and dense networks are split over `tp` GPUs, layers over `pp` stages (`vp` pieces of each,
/// interleaved), experts over `ep` GPUs and each expert over `etp`. What is left over are replicas.
struct Layout {
  std::int64_t gpus = 1;
  std::int64_t tp = 1, pp = 1, vp = 1, ep = 1, etp = 1;

  /// Replicas of everything but the experts, and of the experts.
  std::int64_t dp() const { return gpus / (tp * pp); }
  std::int64_t expert_dp() const { return gpus / (etp * ep * pp); }
  /// `gpus` must be a multiple of it.
  std::int64_t unit() const;
};

/// Why the model cannot be spread so: one line with what was given; empty if it can. Looks at `gpus` last.
std::string why_not(const Layout& layout, const Model& model);

/// "TP 2, PP 8, EP 64"; VP and ETP where they are not 1.
std::string name_of(const Layout& layout);

}  // namespace moebench
