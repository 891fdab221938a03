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

}  // namespace moebench
