// SPDX-License-Identifier: Apache-2.0
// How long a scope takes by the host's clock.
#pragma once

#include <chrono>

namespace moebench {

/// Adds the microseconds from here to the end of the scope to a number.
class Stopwatch {
 public:
  explicit Stopwatch(double& us) : us_(us) {}
  ~Stopwatch() {
    us_ += std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;

 private:
  double& us_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace moebench
