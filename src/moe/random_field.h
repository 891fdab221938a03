// SPDX-License-Identifier: Apache-2.0
// Which random numbers are for what. Part of the seed's meaning: a value never changes, new ones are added at the end.
#pragma once

#include <cstdint>

#include "base/random.h"

namespace moebench {

enum class RandomField : std::uint64_t {
  input = 1,
  output_gradient,
  routing,
  gate,
  w1,
  b1,
  w2,
  b2,
  popularity,  ///< of experts, the same in every step
  order,       ///< of tokens
  placement,   ///< of experts
  shared_w1,
  shared_b1,
  shared_w2,
  shared_b2,
};

inline std::uint64_t key_of(std::uint64_t seed, RandomField field, int step = 0) {
  return mix(mix(seed, static_cast<std::uint64_t>(field)), static_cast<std::uint64_t>(step));
}

/// Uniform in [0, 1).
inline double fraction(std::uint64_t key, std::uint64_t index) {
  return static_cast<double>(mix(key, index) >> 11) * 0x1p-53;
}

}  // namespace moebench
