// SPDX-License-Identifier: Apache-2.0
// How even a routing is.
#pragma once

#include <cstdint>
#include <span>

namespace moebench {

/// min / median / max of rows over experts or ranks.
struct LoadStats {
  std::int64_t min = 0, max = 0;
  double median = 0, mean = 0;
  double imbalance = 0;    ///< max / mean - 1, which others call MaxVio: 0 is perfectly even
  std::int64_t empty = 0;  ///< how many have no row
};

LoadStats load_stats(std::span<const std::int64_t> rows);

}  // namespace moebench
