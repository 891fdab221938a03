// SPDX-License-Identifier: Apache-2.0
#include "layer/routing.h"

#include "base/bump_allocator.h"

namespace moebench {

Routing::Routing(const Shape& shape, std::int64_t tokens, Memory& memory, bool drops) {
  const std::int64_t slots = tokens * shape.slots_per_token();
  storage_ = allocate_together(memory, [&](BumpAllocator& allocator) {
    allocator.allocate(logits, tokens * shape.experts);
    allocator.allocate(dlogits, tokens * shape.experts);
    allocator.allocate(score, slots);
    allocator.allocate(dscore, slots);
    allocator.allocate(chosen, slots);
    if (drops) allocator.allocate(expert_of, slots);
  });
  if (!drops) expert_of = chosen;
}

}  // namespace moebench
