// SPDX-License-Identifier: Apache-2.0
// Sensors of a device, read while it works.
#pragma once

#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

namespace moebench {

/// Why clocks are below what they could be.
enum class ThrottleReason {
  power_cap,
  hardware_slowdown,
  software_thermal,
  hardware_thermal,
  power_brake,
  sync_boost,
  application_clocks,  ///< set by the user or administrator: lower, but steady
  display_clocks,      ///< the same
};

constexpr std::uint32_t bit_of(ThrottleReason limit) { return std::uint32_t{1} << static_cast<int>(limit); }

/// "power cap", in the order of the enumerators.
inline std::vector<std::string> names_of_limits(std::uint32_t bits) {
  constexpr const char* kNames[] = {
      "power cap",   "hardware slowdown", "software thermal slowdown", "hardware thermal slowdown",
      "power brake", "sync boost",        "application clocks",        "display clocks"};
  std::vector<std::string> names;
  for (int limit = 0; limit < static_cast<int>(std::size(kNames)); ++limit)
    if (bits >> limit & 1) names.emplace_back(kNames[limit]);
  return names;
}

/// Whether one of them makes clocks vary: any but a setting.
constexpr bool is_throttled(std::uint32_t bits) {
  return (bits & ~(bit_of(ThrottleReason::application_clocks) | bit_of(ThrottleReason::display_clocks))) != 0;
}

/// One reading; NaN for what the device does not report.
struct SensorReading {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  double sm_mhz = kUnknown, memory_mhz = kUnknown;
  double temperature_c = kUnknown;
  double power_w = kUnknown;   ///< over a time that the device chooses: up to a second
  double energy_j = kUnknown;  ///< counted since some moment of the past, in steps that the device chooses
  std::uint32_t limits = 0;    ///< bits of ThrottleReason
};

class Sensors {
 public:
  virtual ~Sensors() = default;
  /// Unique among all devices of all hosts.
  virtual std::string device_id() const = 0;
  /// Of each active NVLink the place on the bus of what is at its other end, "?" where that is not told.
  virtual std::vector<std::string> nvlinks() const { return {}; }
  /// From any thread, one at a time, also while the device works; changes nothing, never throws.
  virtual SensorReading read() noexcept = 0;
};

}  // namespace moebench
