// SPDX-License-Identifier: Apache-2.0
#include "comm/gpus.h"

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace moebench {

std::string why_gpus_are_shared(std::span<const std::string> uuids) {
  for (std::size_t first = 0; first < uuids.size(); ++first) {
    if (uuids[first].empty()) continue;
    std::vector<std::string> ranks;
    for (std::size_t rank = first; rank < uuids.size(); ++rank)
      if (uuids[rank] == uuids[first]) ranks.push_back(cat(rank));
    if (ranks.size() < 2) continue;
    const std::string last = ranks.back();
    ranks.pop_back();
    return cat("ranks ", join(ranks, ", "), " and ", last, " share ", uuids[first],
               ", and NCCL wants a GPU for each");
  }
  return {};
}

}  // namespace moebench
