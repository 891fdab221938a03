// SPDX-License-Identifier: Apache-2.0
#include "bench/sensor_sampler.h"

#include <cmath>

namespace moebench {
namespace {

constexpr std::chrono::milliseconds kBetweenReadings{20};

double seconds(SensorClock::time_point from, SensorClock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// The readings at which the counter had moved on since the one before.
std::vector<TimedReading> steps_of(std::span<const TimedReading> readings) {
  std::vector<TimedReading> steps;
  for (std::size_t i = 1; i < readings.size(); ++i)
    if (readings[i].reading.energy_j > readings[i - 1].reading.energy_j) steps.push_back(readings[i]);
  return steps;
}

}  // namespace

std::optional<MeanPower> mean_power(std::span<const TimedReading> readings, double min_s) {
  const auto steps = steps_of(readings);
  if (steps.size() >= 2) {
    const double covered = seconds(steps.front().at, steps.back().at);
    if (covered < min_s) return std::nullopt;
    return MeanPower{(steps.back().reading.energy_j - steps.front().reading.energy_j) / covered, true};
  }
  if (readings.empty() || seconds(readings.front().at, readings.back().at) < min_s) return std::nullopt;
  double sum = 0;
  for (const TimedReading& reading : readings) sum += reading.reading.power_w;
  if (std::isnan(sum)) return std::nullopt;
  return MeanPower{sum / static_cast<double>(readings.size()), false};
}

bool throttled_between(std::span<const TimedReading> readings, SensorClock::time_point from,
                       SensorClock::time_point to) {
  bool before = false;  // at the last reading before `from`
  for (const TimedReading& reading : readings) {
    const bool now = is_throttled(reading.reading.limits);
    if (reading.at <= from) {
      before = now;
      continue;
    }
    if (now) return true;
    if (reading.at >= to) break;
  }
  return before;
}

void SensorSampler::begin() {
  if (!sensors_) return;
  readings_.clear();
  ended_ = false;
  read();
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, kBetweenReadings, [this] { return ended_; })) read();
  });
}

void SensorSampler::end() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_one();
  thread_.join();
  read();
}

}  // namespace moebench
