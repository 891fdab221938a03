// SPDX-License-Identifier: Apache-2.0
// `moebench memory`: which of the layouts that were asked for fit, and on how many GPUs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "project/memory.h"

namespace moebench {

struct MemoryRequest {
  std::optional<std::int64_t> gpus;  ///< nothing: as few as fit
  std::vector<std::int64_t> tp, pp,
      ep;  ///< of each layout one; all empty: the usual ones; else an empty one is 1
  std::int64_t vp = 1, etp = 1;
  MemoryChoices choices;
  std::vector<double> overloads;  ///< empty: 1, 1.5, 2, 4
  std::string gpu = "h100";
  std::optional<double> gpu_gib;  ///< instead of what `gpu` has
};

/// One layout on so many GPUs as were asked for, or else as few as fit at the first overload.
struct PlannedLayout {
  Layout layout;
  std::vector<Fit> fits;  ///< one for each overload

  /// At the first overload.
  bool fits_at_all() const { return fits.front().free >= 0; }
};

struct MemoryPlan {
  Model model;
  GpuMemory gpu;
  MemoryRequest request;  ///< with everything that was left open filled in
  std::vector<PlannedLayout>
      layouts;               ///< the best first: what fits, the fewest GPUs, the least tensor parallelism
  std::size_t left_out = 0;  ///< layouts that cannot be; why one of them
  std::string why_left_out;
};

/// Throws UsageError if no layout is possible.
MemoryPlan plan_memory(const Model& model, const MemoryRequest& request);

/// As JSON of the schema moebench.memory/1 (docs/memory.schema.json).
std::string json_of(const MemoryPlan& plan);

}  // namespace moebench
