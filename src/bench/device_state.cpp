// SPDX-License-Identifier: Apache-2.0
#include "bench/device_state.h"

#include <cmath>
#include <cstring>
#include <set>

#include "base/text.h"

namespace moebench {
namespace {

/// The energy counter of a GPU moves in steps of 20 to 100 ms: below this, energy would be mostly a guess.
constexpr double kMinRound_s = 0.5;

double known(double value) { return std::isnan(value) ? 0 : value; }

}  // namespace

void DeviceState::Seen::fold(const Seen& other) {
  readings += other.readings;
  sm_min = std::fmin(sm_min, other.sm_min);  // passes over NaN
  sm_max = std::fmax(sm_max, other.sm_max);
  memory_min = std::fmin(memory_min, other.memory_min);
  memory_max = std::fmax(memory_max, other.memory_max);
  temperature_max = std::fmax(temperature_max, other.temperature_max);
  power_max = std::fmax(power_max, other.power_max);
  power_sum += other.power_sum;
  power_readings += other.power_readings;
  limits = static_cast<std::uint32_t>(limits) | static_cast<std::uint32_t>(other.limits);
}

void DeviceState::add(std::span<const TimedReading> readings, int iterations, double round_s) {
  for (const auto& [at, reading] : readings) {
    const double sm = reading.sm_mhz, memory = reading.memory_mhz, power = reading.power_w;
    seen_.fold({.readings = 1,
                .sm_min = sm,
                .sm_max = sm,
                .memory_min = memory,
                .memory_max = memory,
                .temperature_max = reading.temperature_c,
                .power_max = power,
                .power_sum = known(power),
                .power_readings = std::isnan(power) ? 0.0 : 1.0,
                .limits = static_cast<double>(reading.limits)});
  }
  const auto power = mean_power(readings, kMinRound_s);
  if (!power) return;
  seen_.joules += power->watts * round_s;
  seen_.seconds += round_s;
  seen_.iterations += iterations;
  if (!power->counted) seen_.counted = 0;
}

DeviceRecord DeviceState::describe(World& ranks, const Sensors* sensors, const std::string& unknown,
                                   double tokens) const {
  const auto reasons = ranks.gather_text(sensors ? "" : unknown);
  const auto ids = ranks.gather_text(sensors ? sensors->device_id() : "");
  const auto all = gather_each(ranks, seen_);
  DeviceRecord record;
  for (const std::string& reason : reasons)
    if (!reason.empty() && record.unknown.empty()) record.unknown = reason;
  if (!record.unknown.empty()) return record;
  Seen max;
  std::set<std::string> devices;
  double joules_per_iteration = 0, power_mean = 0;
  bool all_long_enough = true;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const Seen& seen = all[rank];
    max.fold(seen);
    if (seen.power_readings > 0) power_mean = std::fmax(power_mean, seen.power_sum / seen.power_readings);
    if (!devices.insert(ids[rank]).second) continue;
    all_long_enough = all_long_enough && seen.iterations > 0;
    if (seen.iterations > 0) joules_per_iteration += seen.joules / seen.iterations;
    max.seconds = std::fmax(max.seconds, seen.seconds);
    max.counted = std::fmin(max.counted, seen.counted);
  }
  record.readings = static_cast<int>(max.readings);
  record.sm_min_mhz = known(max.sm_min), record.sm_max_mhz = known(max.sm_max);
  record.memory_min_mhz = known(max.memory_min), record.memory_max_mhz = known(max.memory_max);
  record.temperature_max_c = known(max.temperature_max);
  record.power_mean_w = power_mean, record.power_max_w = known(max.power_max);
  record.clock_limits = names_of_limits(static_cast<std::uint32_t>(max.limits));
  if (!all_long_enough) {
    record.energy_unknown = format(
        "no round of samples was read for %.1f s; a longer --min-time gives longer rounds", kMinRound_s);
  } else if (tokens > 0) {
    record.energy_uj_per_token = joules_per_iteration / tokens * 1e6;
    record.energy_s = max.seconds;
    record.energy_from = max.counted > 0 ? "counter" : "power";
  }
  return record;
}

}  // namespace moebench
