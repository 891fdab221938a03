// SPDX-License-Identifier: Apache-2.0
// What the sensors of all ranks said while a case was sampled, as it goes into the record.
#pragma once

#include <span>
#include <string>

#include "bench/record.h"
#include "bench/sensor_sampler.h"
#include "comm/world.h"

namespace moebench {

/// One rank's, over all rounds of samples.
class DeviceState {
 public:
  /// What was read in a round of `iterations` that took `round_s` seconds of the host's clock.
  void add(std::span<const TimedReading> readings, int iterations, double round_s);
  /// Collective. The extremes over ranks; energy of each device once, by its id, over the tokens of all ranks. `unknown`:
  /// why this rank has no sensors.
  DeviceRecord describe(World& ranks, const Sensors* sensors, const std::string& unknown,
                        double tokens) const;

 private:
  /// Gathered over ranks in this order; NaN where unknown.
  struct Seen {
    double readings = 0;
    double sm_min = kUnknown, sm_max = kUnknown, memory_min = kUnknown, memory_max = kUnknown;
    double temperature_max = kUnknown, power_max = kUnknown;
    double power_sum = 0, power_readings = 0;
    double limits = 0;
    double joules = 0, seconds = 0, iterations = 0;  ///< of the rounds that were long enough
    double counted = 1;                              ///< all of the joules came from the energy counter

    /// Takes in what was read, by this rank or another; not the energy.
    void fold(const Seen& other);
  };
  static constexpr double kUnknown = SensorReading::kUnknown;
  Seen seen_;
};

}  // namespace moebench
