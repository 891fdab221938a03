// SPDX-License-Identifier: Apache-2.0
#include "moe/load.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace moebench {

LoadStats load_stats(std::span<const std::int64_t> rows) {
  if (rows.empty()) return {};
  std::vector<std::int64_t> sorted(rows.begin(), rows.end());
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  const double mean = static_cast<double>(std::reduce(sorted.begin(), sorted.end())) / static_cast<double>(n);
  return {.min = sorted.front(),
          .max = sorted.back(),
          .median = (static_cast<double>(sorted[(n - 1) / 2]) + static_cast<double>(sorted[n / 2])) / 2,
          .mean = mean,
          .imbalance = mean > 0 ? static_cast<double>(sorted.back()) / mean - 1 : 0,
          .empty = std::count(sorted.begin(), sorted.end(), 0)};
}

Drops count_drops(std::span<const std::int32_t> expert_of, std::span<const float> score, std::int64_t top_k) {
  Drops drops{.slots = std::ssize(expert_of)};
  for (std::int64_t token = 0; token < drops.slots / top_k; ++token) {
    std::int64_t of_token = 0;
    for (std::int64_t slot = token * top_k; slot < (token + 1) * top_k; ++slot) {
      const bool dropped = expert_of[slot] < 0;
      of_token += dropped;
      drops.weight += score[slot];
      if (!dropped) drops.kept_weight += score[slot];
    }
    drops.dropped += of_token;
    drops.lost_tokens += of_token == top_k;
  }
  return drops;
}

}  // namespace moebench
