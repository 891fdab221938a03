// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/nvml_library.h"

#include <dlfcn.h>

#include "base/text.h"

namespace moebench::cuda {

NvmlLibrary open_nvml(const char* file) {
  NvmlLibrary api{};
  void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    api.missing = cat("NVML cannot be opened: ", dlerror());
    return api;
  }
  const auto find = [&]<class Function>(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
  };
#define MB_NEEDED(name) \
  if (!find(api.name, #name)) api.missing = cat("NVML has no ", #name, ": it is older than this program needs")
  MB_NEEDED(nvmlInit_v2);
  MB_NEEDED(nvmlErrorString);
  MB_NEEDED(nvmlDeviceGetHandleByPciBusId_v2);
  MB_NEEDED(nvmlDeviceGetUUID);
#undef MB_NEEDED
  find(api.nvmlDeviceGetClockInfo, "nvmlDeviceGetClockInfo");
  find(api.nvmlDeviceGetTemperature, "nvmlDeviceGetTemperature");
  find(api.nvmlDeviceGetPowerUsage, "nvmlDeviceGetPowerUsage");
  find(api.nvmlDeviceGetTotalEnergyConsumption, "nvmlDeviceGetTotalEnergyConsumption");
  if (!find(api.clocks_event_reasons, "nvmlDeviceGetCurrentClocksEventReasons"))
    find(api.clocks_event_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
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
