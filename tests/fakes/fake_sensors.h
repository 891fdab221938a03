// SPDX-License-Identifier: Apache-2.0
// Sensors that say what a test wants.
#pragma once

#include <atomic>
#include <functional>

#include "backends/sensors.h"

namespace moebench {

class FakeSensors final : public Sensors {
 public:
  std::function<SensorReading()> say = [] { return SensorReading{.sm_mhz = 1500, .power_w = 300}; };
  std::atomic<int> reads{0};

  std::string device_id() const override { return "fake-0"; }
  SensorReading read() noexcept override {
    ++reads;
    return say();
  }
};

}  // namespace moebench
