// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/nvml_library.h"

#include "base/shared_library.h"
#include "base/text.h"

namespace moebench::cuda {

NvmlLibrary open_nvml(const char* file) {
  NvmlLibrary api{};
  const SharedLibrary library("NVML", {file});
  api.missing = library.missing();
  if (!api.missing.empty()) return api;
#define MB_NEEDED(name)               \
  if (!library.find(api.name, #name)) \
  api.missing = cat("NVML has no ", #name, ": it is older than this program needs")
  MB_NEEDED(nvmlInit_v2);
  MB_NEEDED(nvmlErrorString);
  MB_NEEDED(nvmlDeviceGetHandleByPciBusId_v2);
  MB_NEEDED(nvmlDeviceGetUUID);
#undef MB_NEEDED
  library.find(api.nvmlDeviceGetClockInfo, "nvmlDeviceGetClockInfo");
  library.find(api.nvmlDeviceGetTemperature, "nvmlDeviceGetTemperature");
  library.find(api.nvmlDeviceGetPowerUsage, "nvmlDeviceGetPowerUsage");
  library.find(api.nvmlDeviceGetTotalEnergyConsumption, "nvmlDeviceGetTotalEnergyConsumption");
  library.find(api.nvmlDeviceGetNvLinkState, "nvmlDeviceGetNvLinkState");
  library.find(api.nvmlDeviceGetNvLinkRemotePciInfo_v2, "nvmlDeviceGetNvLinkRemotePciInfo_v2");
  if (!library.find(api.clocks_event_reasons, "nvmlDeviceGetCurrentClocksEventReasons"))
    library.find(api.clocks_event_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
  if (!api.missing.empty()) return api;
  if (const NvmlStatus status = api.nvmlInit_v2(); status != 0)
    api.missing = cat("NVML cannot be used: ", api.nvmlErrorString(status));
  return api;
}

const NvmlLibrary& nvml() {
  static const NvmlLibrary library = open_nvml("libnvidia-ml.so.1");
  return library;
}

}  // namespace moebench::cuda
