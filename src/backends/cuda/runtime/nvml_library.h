// SPDX-License-Identifier: Apache-2.0
// The functions of NVIDIA's management library in use, opened at run time with declarations of our own: neither its
// header nor the library need be there. Names, numbers and units are those of the NVML API Reference Guide.
#pragma once

#include <string>

namespace moebench::cuda {

using NvmlDevice = struct NvmlDeviceOpaque*;
using NvmlStatus = int;  ///< 0 is success

/// nvmlPciInfo_t of version 3.
struct NvmlPciInfo {
  char legacy_bus_id[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
};

/// Named as in the library. Those after nvmlDeviceGetUUID are null where the library lacks them.
struct NvmlLibrary {
  std::string missing;  ///< why it cannot be used, or empty

  NvmlStatus (*nvmlInit_v2)();
  const char* (*nvmlErrorString)(NvmlStatus);
  NvmlStatus (*nvmlDeviceGetHandleByPciBusId_v2)(const char*, NvmlDevice*);
  NvmlStatus (*nvmlDeviceGetUUID)(NvmlDevice, char*, unsigned length);
  NvmlStatus (*nvmlDeviceGetClockInfo)(NvmlDevice, int clock, unsigned* mhz);
  NvmlStatus (*nvmlDeviceGetTemperature)(NvmlDevice, int sensor, unsigned* celsius);
  NvmlStatus (*nvmlDeviceGetPowerUsage)(NvmlDevice, unsigned* milliwatts);
  NvmlStatus (*nvmlDeviceGetTotalEnergyConsumption)(NvmlDevice, unsigned long long* millijoules);
  NvmlStatus (*nvmlDeviceGetNvLinkState)(NvmlDevice, unsigned link, unsigned* is_active);
  NvmlStatus (*nvmlDeviceGetNvLinkRemotePciInfo_v2)(NvmlDevice, unsigned link, NvmlPciInfo*);
  NvmlStatus (*clocks_event_reasons)(NvmlDevice, unsigned long long* bits);  ///< under its new or old name
};

/// The driver's own, opened at the first call.
const NvmlLibrary& nvml();
/// Opens `file` and initialises it; it stays open until the process ends.
NvmlLibrary open_nvml(const char* file);

}  // namespace moebench::cuda
