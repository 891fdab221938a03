// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/nvml.h"

#include "base/text.h"

namespace moebench::cuda {
namespace {

/// What a call tells, times `unit`; NaN if there is no such call or it fails, as on a part of a GPU (MIG).
template <class Number, class Call>
double value_or_nan(Call call, double unit = 1) {
  Number value = 0;
  return call(&value) == 0 ? unit * static_cast<double>(value) : SensorReading::kUnknown;
}

class NvmlSensors final : public Sensors {
 public:
  NvmlSensors(const NvmlLibrary& library, NvmlDevice device, std::string id)
      : library_(library), device_(device), id_(std::move(id)) {}

  std::string device_id() const override { return id_; }
  std::vector<std::string> nvlinks() const override {
    constexpr unsigned kMaxLinks = 18;  // NVML_NVLINK_MAX_LINKS
    std::vector<std::string> ends;
    for (unsigned link = 0; library_.nvmlDeviceGetNvLinkState && link < kMaxLinks; ++link) {
      unsigned is_active = 0;
      if (library_.nvmlDeviceGetNvLinkState(device_, link, &is_active) != 0 || is_active == 0) continue;
      NvmlPciInfo end{};
      const bool told = library_.nvmlDeviceGetNvLinkRemotePciInfo_v2 &&
                        library_.nvmlDeviceGetNvLinkRemotePciInfo_v2(device_, link, &end) == 0;
      ends.push_back(told ? end.bus_id : "?");
    }
    return ends;
  }
  SensorReading read() noexcept override {
    constexpr int kSmClock = 1, kMemoryClock = 2, kGpuTemperature = 0, kNoSuchCall = -1;
    const auto ask = [&](auto function, auto... args) {
      return function ? function(device_, args...) : NvmlStatus{kNoSuchCall};
    };
    const auto clock = [&](int which) {
      return value_or_nan<unsigned>(
          [&](unsigned* mhz) { return ask(library_.nvmlDeviceGetClockInfo, which, mhz); });
    };
    SensorReading reading{.sm_mhz = clock(kSmClock), .memory_mhz = clock(kMemoryClock)};
    reading.temperature_c = value_or_nan<unsigned>(
        [&](unsigned* c) { return ask(library_.nvmlDeviceGetTemperature, kGpuTemperature, c); });
    reading.power_w =
        value_or_nan<unsigned>([&](unsigned* mw) { return ask(library_.nvmlDeviceGetPowerUsage, mw); }, 1e-3);
    using Wide = unsigned long long;
    reading.energy_j = value_or_nan<Wide>(
        [&](Wide* mj) { return ask(library_.nvmlDeviceGetTotalEnergyConsumption, mj); }, 1e-3);
    Wide reasons = 0;
    if (ask(library_.clocks_event_reasons, &reasons) == 0) reading.limits = limits_of(reasons);
    return reading;
  }

 private:
  NvmlLibrary library_;
  NvmlDevice device_;
  std::string id_;
};

}  // namespace

std::unique_ptr<Sensors> make_sensors(const NvmlLibrary& library, const std::string& pci_bus_id,
                                      std::string& why) {
  why = library.missing;
  if (!why.empty()) return nullptr;
  NvmlDevice device = nullptr;
  char id[96] = {};  // NVML_DEVICE_UUID_V2_BUFFER_SIZE
  NvmlStatus status = library.nvmlDeviceGetHandleByPciBusId_v2(pci_bus_id.c_str(), &device);
  if (status == 0) status = library.nvmlDeviceGetUUID(device, id, sizeof id);
  if (status == 0) return std::make_unique<NvmlSensors>(library, device, id);
  why = cat("NVML does not show GPU ", pci_bus_id, ": ", library.nvmlErrorString(status));
  return nullptr;
}

std::uint32_t limits_of(unsigned long long reasons) {
  constexpr struct {
    unsigned long long reason;
    ThrottleReason limit;
  } kReasons[] = {
      {0x02, ThrottleReason::application_clocks}, {0x04, ThrottleReason::power_cap},
      {0x08, ThrottleReason::hardware_slowdown},  {0x10, ThrottleReason::sync_boost},
      {0x20, ThrottleReason::software_thermal},   {0x40, ThrottleReason::hardware_thermal},
      {0x80, ThrottleReason::power_brake},        {0x100, ThrottleReason::display_clocks},
  };
  std::uint32_t bits = 0;
  for (const auto& [reason, limit] : kReasons)
    if (reasons & reason) bits |= bit_of(limit);
  return bits;
}

}  // namespace moebench::cuda
