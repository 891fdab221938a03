// SPDX-License-Identifier: Apache-2.0
// Reads a device's sensors while samples are taken.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "backends/sensors.h"

namespace moebench {

using SensorClock = std::chrono::steady_clock;

struct TimedReading {
  SensorClock::time_point at;
  SensorReading reading;
};

/// Mean power in watts over some readings in order of time, with what it came from.
struct MeanPower {
  double watts = 0;
  bool counted = false;  ///< from the device's energy counter; else its power readings averaged
};
/// From the counter's first step seen to its last, so that its coarseness costs one reading's distance at each end; from
/// the power readings if there is no counter. Nothing if that covers less than `least_s`.
std::optional<MeanPower> mean_power(std::span<const TimedReading> readings, double min_s);

/// Whether clocks were throttled at any reading from the last one before `from` to the first one after `to`.
bool throttled_between(std::span<const TimedReading> readings, SensorClock::time_point from,
                       SensorClock::time_point to);

/// Reads once at begin(), once at end(), and from a thread of its own in between. Without sensors it does nothing.
class SensorSampler {
 public:
  /// The sensors outlive it; null for none.
  explicit SensorSampler(Sensors* sensors) : sensors_(sensors) {}
  ~SensorSampler() { end(); }
  SensorSampler(const SensorSampler&) = delete;

  void begin();
  void end();
  /// Of the last begin() … end(), in order of time.
  std::span<const TimedReading> readings() const { return readings_; }

 private:
  void read() { readings_.push_back({SensorClock::now(), sensors_->read()}); }

  Sensors* sensors_;
  std::vector<TimedReading> readings_;  ///< the thread's between begin() and end()
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
};

}  // namespace moebench
