// SPDX-License-Identifier: Apache-2.0
// A random order of 0 … n-1 without a table: any place can be asked alone.
#pragma once

#include <cstdint>

#include "base/random.h"

namespace moebench {

/// Four rounds of a Feistel network over the next power of four, walked until it comes back below n (Black and Rogaway,
/// "Ciphers with arbitrary finite domains", CT-RSA 2002).
class Permutation {
 public:
  Permutation(std::uint64_t n, std::uint64_t key) : n_(n), key_(key) {
    while (half_ < 31 && (std::uint64_t{1} << (2 * half_)) < n) ++half_;
  }

  /// 0 <= i < n.
  std::uint64_t at(std::uint64_t i) const {
    do i = mixed(i);
    while (i >= n_);
    return i;
  }

 private:
  std::uint64_t mixed(std::uint64_t value) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_) - 1;
    std::uint64_t left = value >> half_, right = value & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t next = left ^ (mix(mix(key_, round), right) & mask);
      left = right;
      right = next;
    }
    return left << half_ | right;
  }

  std::uint64_t n_, key_;
  int half_ = 1;  ///< bits of one half
};

}  // namespace moebench
