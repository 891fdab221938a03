// SPDX-License-Identifier: Apache-2.0
// What a GPU is, and whether this backend can use it.
#pragma once

#include <string>

#include "backends/backend.h"

namespace moebench::cuda {

/// Whether the driver shows a GPU, or fails for another reason than that there is none.
bool is_there();
/// GPUs that the driver shows to this process; 0 with a reason in `why`.
int count_devices(std::string& why);
struct Capability {
  int major, minor;
};
Capability capability_of(int device);
/// Why this program cannot use GPU `device`; empty if it can.
std::string why_not(int device);
/// "0000:19:00.0"
std::string pci_bus_id(int device);
/// Name, sizes and the versions of what lies under this backend but cuBLAS.
DeviceInfo describe(int device);

}  // namespace moebench::cuda
