// SPDX-License-Identifier: Apache-2.0
#include "moe/load.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace moebench {

namespace {

double variation(std::span<const std::int64_t> rows, double mean) {
  double squares = 0;
  for (const std::int64_t n : rows)
    squares += (static_cast<double>(n) - mean) * (static_cast<double>(n) - mean);
  return mean > 0 ? std::sqrt(squares / static_cast<double>(rows.size())) / mean : 0;
}

double relative_entropy(std::span<const std::int64_t> rows, double mean) {
  if (rows.size() < 2 || mean <= 0) return 0;
  const double sum = mean * static_cast<double>(rows.size());
  double entropy = 0;
  for (const std::int64_t n : rows)
    if (n > 0) entropy -= static_cast<double>(n) / sum * std::log(static_cast<double>(n) / sum);
  return entropy / std::log(static_cast<double>(rows.size()));
}

/// Of K rows for each token of a table of so many slots.
std::int64_t lacking(const Shape& shape, std::int64_t slots, std::int64_t rows) {
  return std::max<std::int64_t>(slots / shape.slots_per_token() * shape.top_k - rows, 0);
}

}  // namespace

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
          .empty = std::count(sorted.begin(), sorted.end(), 0),
          .cv = variation(rows, mean),
          .entropy = relative_entropy(rows, mean)};
}

TokenLoad token_load(const Shape& shape, std::span<const std::int32_t> expert_of) {
  TokenLoad load{.rows = std::vector<std::int64_t>(static_cast<std::size_t>(shape.experts))};
  const std::int64_t k = shape.slots_per_token();
  std::vector<std::int64_t> last_token(static_cast<std::size_t>(shape.ep), -1);  // that went to each rank
  for (std::int64_t slot = 0; slot < std::ssize(expert_of); ++slot) {
    const std::int32_t expert = expert_of[static_cast<std::size_t>(slot)];
    if (expert < 0) continue;
    ++load.rows[static_cast<std::size_t>(expert)];
    std::int64_t& last = last_token[static_cast<std::size_t>(expert / shape.experts_per_rank())];
    load.ranks += last != slot / k;
    last = slot / k;
  }
  const std::int64_t rows = std::reduce(load.rows.begin(), load.rows.end());
  load.dropped = lacking(shape, std::ssize(expert_of), rows);
  return load;
}

Drops count_drops(const Shape& shape, std::span<const std::int32_t> expert_of, std::span<const float> score) {
  const std::int64_t slots = shape.slots_per_token(), tokens = std::ssize(expert_of) / slots;
  Drops drops{.slots = tokens * shape.top_k};
  std::int64_t rows = 0;
  for (std::int64_t token = 0; token < tokens; ++token) {
    std::int64_t of_token = 0;
    for (std::int64_t slot = token * slots; slot < (token + 1) * slots; ++slot) {
      const bool dropped = expert_of[slot] < 0;
      of_token += dropped;
      drops.weight += score[slot];
      if (!dropped) drops.kept_weight += score[slot];
    }
    rows += slots - of_token;
    drops.lost_tokens += of_token == slots;
  }
  drops.dropped = lacking(shape, std::ssize(expert_of), rows);
  return drops;
}

}  // namespace moebench
