// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: element i of field k is a pure function of (k, i), so that any rank,
// thread or device makes the same tensor, and any single element can be had without the others.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define MB_HOST_DEVICE __host__ __device__
#else
#define MB_HOST_DEVICE
#endif

namespace moebench {

/// 64 well-mixed bits of (key, index). The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
MB_HOST_DEVICE constexpr std::uint64_t mix(std::uint64_t key, std::uint64_t index) {
  std::uint64_t z = key + (index + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

/// Uniform in [-1, 1) on a grid of 2^-23: exact in fp32, the same bits on every device.
MB_HOST_DEVICE constexpr float uniform_at(std::uint64_t key, std::uint64_t index) {
  const auto bits = static_cast<std::int32_t>(mix(key, index) >> 40);
  return static_cast<float>(bits - (1 << 23)) * (1.0f / (1 << 23));
}

/// A random tensor that need not exist: element i is `amplitude * uniform_at(key, i)`, rounded to fp32.
struct UniformField {
  std::uint64_t key = 0;
  float amplitude = 1.0f;

  MB_HOST_DEVICE constexpr float at(std::uint64_t index) const { return amplitude * uniform_at(key, index); }
};

}  // namespace moebench
