// SPDX-License-Identifier: Apache-2.0
// The sensors of one NVIDIA GPU.
#pragma once

#include <memory>
#include <string>

#include "backends/cuda/runtime/nvml_library.h"
#include "backends/sensors.h"

namespace moebench::cuda {

/// The GPU at this place on the bus ("00000000:19:00.0"). Null, and the reason in `why`, if it cannot be asked.
std::unique_ptr<Sensors> make_sensors(const NvmlLibrary& library, const std::string& pci_bus_id,
                                      std::string& why);

/// NVML's clocks event reasons as bits of ThrottleReason. Being idle limits nothing.
std::uint32_t limits_of(unsigned long long reasons);

}  // namespace moebench::cuda
