// SPDX-License-Identifier: Apache-2.0
#include "bench/device_state.h"

#include <cmath>
#include <cstring>
#include <set>

#include "base/text.h"

namespace moebench {
namespace {

/// The energy counter of a GPU moves in steps of 20 to 100 ms: below this, energy would be mostly a guess.
constexpr double kLeastRound_s = 0.5;

double known(double value) { return std::isnan(value) ? 0 : value; }

}  // namespace

void DeviceState::add(std::span<const TimedReading> readings, int iterations, double round_s) {
  for (const auto& [at, reading] : readings) {
    seen_.readings += 1;
    seen_.sm_min = std::fmin(seen_.sm_min, reading.sm_mhz);  // passes over NaN
    seen_.sm_max = std::fmax(seen_.sm_max, reading.sm_mhz);
    seen_.memory_min = std::fmin(seen_.memory_min, reading.memory_mhz);
    seen_.memory_max = std::fmax(seen_.memory_max, reading.memory_mhz);
    seen_.temperature_max = std::fmax(seen_.temperature_max, reading.temperature_c);
    seen_.power_max = std::fmax(seen_.power_max, reading.power_w);
    seen_.power_sum += known(reading.power_w);
    seen_.power_readings += !std::isnan(reading.power_w);
    seen_.limits = static_cast<std::uint32_t>(seen_.limits) | reading.limits;
  }
  const auto power = mean_power(readings, kLeastRound_s);
  if (!power) return;
  seen_.joules += power->watts * round_s;
  seen_.seconds += round_s;
  seen_.iterations += iterations;
  if (!power->counted) seen_.counted = 0;
}

DeviceRecord DeviceState::describe(World& ranks, const Sensors* sensors, const std::string& unknown, double tokens) const {
  const auto reasons = ranks.gather_text(sensors ? "" : unknown);
  const auto ids = ranks.gather_text(sensors ? sensors->device_id() : "");
  const auto all = gather_all(ranks, std::vector<Seen>{seen_});
  DeviceRecord record;
  for (const std::string& reason : reasons)
    if (!reason.empty() && record.unknown.empty()) record.unknown = reason;
  if (!record.unknown.empty()) return record;
  Seen most;
  std::set<std::string> devices;
  double joules_per_iteration = 0, power_mean = 0;
  bool all_long_enough = true;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const Seen& seen = all[rank];
    most.readings += seen.readings;
    most.sm_min = std::fmin(most.sm_min, seen.sm_min);
    most.sm_max = std::fmax(most.sm_max, seen.sm_max);
    most.memory_min = std::fmin(most.memory_min, seen.memory_min);
    most.memory_max = std::fmax(most.memory_max, seen.memory_max);
    most.temperature_max = std::fmax(most.temperature_max, seen.temperature_max);
    most.power_max = std::fmax(most.power_max, seen.power_max);
    most.limits = static_cast<std::uint32_t>(most.limits) | static_cast<std::uint32_t>(seen.limits);
    if (seen.power_readings > 0) power_mean = std::fmax(power_mean, seen.power_sum / seen.power_readings);
    if (!devices.insert(ids[rank]).second) continue;
    all_long_enough = all_long_enough && seen.iterations > 0;
    if (seen.iterations > 0) joules_per_iteration += seen.joules / seen.iterations;
    most.seconds = std::fmax(most.seconds, seen.seconds);
    most.counted = std::fmin(most.counted, seen.counted);
  }
  record.readings = static_cast<int>(most.readings);
  record.sm_min_mhz = known(most.sm_min), record.sm_max_mhz = known(most.sm_max);
  record.memory_min_mhz = known(most.memory_min), record.memory_max_mhz = known(most.memory_max);
  record.temperature_max_c = known(most.temperature_max);
  record.power_mean_w = power_mean, record.power_max_w = known(most.power_max);
  record.clock_limits = names_of_limits(static_cast<std::uint32_t>(most.limits));
  if (!all_long_enough) {
    record.energy_unknown = format("no round of samples was read for %.1f s; a longer --min-time gives longer rounds", kLeastRound_s);
  } else if (tokens > 0) {
    record.energy_uj_per_token = joules_per_iteration / tokens * 1e6;
    record.energy_s = most.seconds;
    record.energy_from = most.counted > 0 ? "counter" : "power";
  }
  return record;
}

}  // namespace moebench
