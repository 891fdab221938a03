// SPDX-License-Identifier: Apache-2.0
// Memory of this host, and how much of it this process holds.
#pragma once

#include <cstddef>

namespace moebench {

/// MemAvailable of the kernel, and no more than the control group's limit leaves.
std::size_t available_host_bytes();

/// By how much the resident memory of this process has grown at its highest since the object was made. Of two at a time
/// the younger one resets what the older one sees.
class ResidentPeak {
 public:
  ResidentPeak();
  /// NaN if the system does not say.
  double grown_bytes() const;

 private:
  double before_;
};

}  // namespace moebench
