// SPDX-License-Identifier: Apache-2.0
// The end of a wait for another process.
#pragma once

#include <chrono>

namespace moebench {

/// `limit_s` from now, kept inside the clock's range.
std::chrono::steady_clock::time_point deadline_in(double limit_s);

/// The end of a wait. Time in which this process did not run (it was stopped, or the machine slept) does not count:
/// messages may have arrived meanwhile.
class Deadline {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit Deadline(double limit_s, Time now = std::chrono::steady_clock::now());
  /// To be called at least a few times a second.
  bool passed(Time now = std::chrono::steady_clock::now());

 private:
  Time end_, seen_;
};

/// How long this process was stopped between two polls; zero for a gap that a busy machine explains.
std::chrono::steady_clock::duration stood_still(Deadline::Time before, Deadline::Time now);

}  // namespace moebench
