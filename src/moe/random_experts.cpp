// SPDX-License-Identifier: Apache-2.0
#include "moe/random_experts.h"

#include <algorithm>

#include "base/random.h"
#include "moe/workload.h"

namespace moebench {
namespace {

constexpr std::uint64_t kRoutingField =
    0x70726F6A656374ull;  // a field of random numbers that nothing else uses

}  // namespace

void draw_experts(std::uint64_t seed, std::int64_t token, std::int64_t experts,
                  std::span<std::int64_t> chosen) {
  const std::uint64_t key = mix(mix(seed, kRoutingField), static_cast<std::uint64_t>(token));
  std::uint64_t draw = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    do
      // The high bits of a 64-bit product: even to 2^-32 for any number of experts that there is.
      chosen[i] =
          static_cast<std::int64_t>(((mix(key, draw++) >> 32) * static_cast<std::uint64_t>(experts)) >> 32);
    while (std::find(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(i), chosen[i]) !=
           chosen.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

std::span<const std::int64_t> DrawnChoice::of(std::int64_t token) {
  if (planted_) {
    chosen_ = planted_->target_experts(step_, token);
  } else {
    chosen_.resize(static_cast<std::size_t>(shape_.top_k));
    draw_experts(seed_, token, shape_.experts, chosen_);
  }
  return chosen_;
}

std::vector<std::int64_t> rows_received(const Shape& shape, int rank, DrawnChoice choice) {
  const std::int64_t e = shape.experts_per_rank(), first_expert = rank % shape.ep * e;
  const int first_rank = rank / shape.ep * shape.ep;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.ep * e));
  for (int sender = 0; sender < shape.ep; ++sender)
    for (std::int64_t token = shape.first_token(first_rank + sender);
         token < shape.first_token(first_rank + sender + 1); ++token)
      for (const std::int64_t expert : choice.of(token))
        if (expert >= first_expert && expert < first_expert + e)
          ++rows[static_cast<std::size_t>(sender * e + expert - first_expert)];
  return rows;
}

}  // namespace moebench
