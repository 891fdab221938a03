// SPDX-License-Identifier: Apache-2.0
// The three communicators of a layer, and which of them each parameter's tag means.
#pragma once

#include <memory>
#include <utility>

#include "comm/comm.h"
#include "moe/parameter.h"

namespace moebench {

/// Ranks 0 … ep-1 are the first expert-parallel group, the next ep the second, and so on. Ranks at the same
/// place of every group hold the same experts: they are replicas of each other.
class Groups {
 public:
  /// Collective. `world` spans the ranks of the case; ep divides its size.
  Groups(std::unique_ptr<Comm> world, int ep);
  /// Groups that are there already. `replicas` may be null: then no gradient is summed over replicas.
  Groups(std::unique_ptr<Comm> world, std::unique_ptr<Comm> expert_parallel, std::unique_ptr<Comm> replicas)
      : world_(std::move(world)),
        expert_parallel_(std::move(expert_parallel)),
        replicas_(std::move(replicas)) {}

  Comm& world() { return *world_; }
  Comm& expert_parallel() { return *expert_parallel_; }
  /// Where a gradient with this tag is summed; null where nothing is to be done.
  Comm* of(Tag tag);

 private:
  std::unique_ptr<Comm> world_, expert_parallel_, replicas_;
};

}  // namespace moebench
