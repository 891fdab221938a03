// SPDX-License-Identifier: Apache-2.0
// Displaces what the last-level cache holds.
#pragma once

#include "backends/backend.h"

namespace moebench {

/// Copies one buffer as large as the last-level cache onto another: twice the cache is touched.
class Flush {
 public:
  explicit Flush(Backend& backend)
      : backend_(backend),
        from_(backend.memory(), DType::fp32, rows(backend), kCols),
        to_(backend.memory(), DType::fp32, rows(backend), kCols) {
    backend.fill(from_, {1, 1.0f}, 0);
  }
  /// Returns when it is done.
  void run() {
    backend_.copy(from_, to_);
    backend_.synchronize();
  }
  static double bytes(std::size_t cache_bytes) { return 2.0 * static_cast<double>(cache_bytes); }

 private:
  static constexpr std::int64_t kCols = 1024;
  static std::int64_t rows(Backend& backend) {
    constexpr std::size_t kRowBytes = kCols * sizeof(float);
    return static_cast<std::int64_t>((backend.device().cache_bytes + kRowBytes - 1) / kRowBytes);
  }
  Backend& backend_;
  Tensor from_, to_;
};

}  // namespace moebench
