// SPDX-License-Identifier: Apache-2.0
#include "layer/routing.h"

#include "base/carve.h"

namespace moebench {

Routing::Routing(const Shape& shape, std::int64_t tokens, Memory& memory, bool drops) {
  const std::int64_t slots = tokens * shape.top_k;
  storage_ = carve(memory, [&](Carver& carver) {
    carver.carve(logits, tokens * shape.experts);
    carver.carve(dlogits, tokens * shape.experts);
    carver.carve(score, slots);
    carver.carve(dscore, slots);
    carver.carve(chosen, slots);
    if (drops) carver.carve(expert_of, slots);
  });
  if (!drops) expert_of = chosen;
}

}  // namespace moebench
