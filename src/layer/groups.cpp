// SPDX-License-Identifier: Apache-2.0
#include "layer/groups.h"

#include "base/error.h"

namespace moebench {

Groups::Groups(std::unique_ptr<Comm> world, int ep)
    : world_(std::move(world)),
      expert_parallel_(world_->split(world_->rank() / ep)),
      replicas_(world_->split(world_->rank() % ep)) {
  MB_ASSERT(expert_parallel_->size() == ep);
}

Comm* Groups::of(Tag tag) {
  Comm* comm = tag == Tag::world ? world_.get() : tag == Tag::data_parallel ? replicas_.get() : nullptr;
  return comm && comm->size() > 1 ? comm : nullptr;
}

}  // namespace moebench
