// SPDX-License-Identifier: Apache-2.0
// Normal random numbers by counter (base/random.h).
#pragma once

#include <cmath>

#include "base/random.h"

namespace moebench {

/// Of mean 0 and variance 1: element i of field k, by Box and Muller's transform in double of 24 bits each of two hashes, so
/// that host and device differ by no more than a rounding.
MB_HOST_DEVICE inline float normal_at(std::uint64_t key, std::uint64_t index) {
  constexpr double kStep = 1.0 / (1 << 24), kTwoPi = 6.283185307179586;
  const double radius = static_cast<double>((mix(key, 2 * index) >> 40) + 1) * kStep,  // in (0, 1]
      angle = static_cast<double>(mix(key, 2 * index + 1) >> 40) * kStep;
  return static_cast<float>(sqrt(-2 * log(radius)) * cos(kTwoPi * angle));
}

}  // namespace moebench
