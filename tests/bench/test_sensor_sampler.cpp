// SPDX-License-Identifier: Apache-2.0
// Sensors while samples are taken: readings made by hand, and a device that is read for real by the watch's thread.
#include <gtest/gtest.h>

#include <atomic>

#include "bench/device_state.h"
#include "bench/sensor_sampler.h"
#include "fakes/fake_sensors.h"

namespace moebench {
namespace {

SensorClock::time_point at(double second) {
  return SensorClock::time_point{} +
         std::chrono::duration_cast<SensorClock::duration>(std::chrono::duration<double>(second));
}

/// A reading every 20 ms of a device that takes 500 W and counts its energy in steps of 100 ms, out of step with the readings.
std::vector<TimedReading> readings_of(double seconds, bool counts = true) {
  std::vector<TimedReading> readings;
  for (double t = 0; t <= seconds; t += 0.02) {
    SensorReading reading{.sm_mhz = 1000 + 100 * t, .power_w = 490};
    if (counts) reading.energy_j = 7000 + 50 * std::floor((t + 0.013) / 0.1);
    readings.push_back({at(t), reading});
  }
  return readings;
}

TEST(MeanPower, ComesFromTheStepsOfTheCounter) {
  const auto power = mean_power(readings_of(2), 0.5);
  ASSERT_TRUE(power);
  EXPECT_TRUE(power->counted);
  EXPECT_NEAR(power->watts, 500, 10)
      << "a step lies within 20 ms of where it was seen, at either end of 1.8 s";
}

TEST(MeanPower, ComesFromThePowerReadingsOfADeviceWithoutACounter) {
  const auto power = mean_power(readings_of(2, false), 0.5);
  ASSERT_TRUE(power);
  EXPECT_FALSE(power->counted);
  EXPECT_DOUBLE_EQ(power->watts, 490);
}

TEST(MeanPower, IsUnknownOfAMomentOrADeviceThatTellsNothing) {
  EXPECT_FALSE(mean_power(readings_of(0.5), 0.5)) << "the steps seen are nearer than that";
  EXPECT_FALSE(mean_power({}, 0.5));
  auto silent = readings_of(2, false);
  for (TimedReading& reading : silent) reading.reading.power_w = SensorReading::kUnknown;
  EXPECT_FALSE(mean_power(silent, 0.5));
}

TEST(Throttled, IsASampleBetweenTwoReadingsOfWhichOneSaysSo) {
  auto readings = readings_of(0.1);  // at 0, 20, 40, 60, 80, 100 ms
  readings[3].reading.limits = bit_of(ThrottleReason::power_cap);
  const auto throttled = [&](double from, double to) {
    return throttled_between(readings, at(from), at(to));
  };
  EXPECT_FALSE(throttled(0.000, 0.015));
  EXPECT_FALSE(throttled(0.021, 0.035)) << "the next reading, at 40 ms, says no";
  EXPECT_TRUE(throttled(0.041, 0.050)) << "the next reading says so";
  EXPECT_TRUE(throttled(0.001, 0.099));
  EXPECT_TRUE(throttled(0.065, 0.070)) << "the last reading said so";
  EXPECT_FALSE(throttled(0.081, 0.090));
  readings[3].reading.limits = bit_of(ThrottleReason::application_clocks);
  EXPECT_FALSE(throttled(0.001, 0.099)) << "clocks that somebody set are steady";
}

TEST(ClockLimits, AreNamedInOrder) {
  EXPECT_EQ(names_of_limits(bit_of(ThrottleReason::display_clocks) | bit_of(ThrottleReason::power_cap)),
            (std::vector<std::string>{"power cap", "display clocks"}));
  EXPECT_TRUE(names_of_limits(0).empty());
}

TEST(Watching, ReadsBeforeBetweenAndAfter) {
  FakeSensors sensors;
  SensorSampler sampler(&sensors);
  sampler.begin();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  sampler.end();
  const auto first = sampler.readings();
  EXPECT_GE(first.size(), 3u) << "one of them from the thread";
  EXPECT_EQ(static_cast<int>(first.size()), sensors.reads.load());
  for (std::size_t i = 1; i < first.size(); ++i) EXPECT_LE(first[i - 1].at, first[i].at);
  sampler.begin();
  sampler.end();
  EXPECT_LT(sampler.readings().size(), 4u) << "those of before are gone";
}

TEST(Watching, OfNothingReadsNothing) {
  SensorSampler sampler(nullptr);
  sampler.begin();
  sampler.end();
  EXPECT_TRUE(sampler.readings().empty());
}

TEST(DeviceStates, TellTheExtremesAndTheEnergyOfAToken) {
  const auto world = make_self_world();
  FakeSensors sensors;
  DeviceState state;
  auto readings = readings_of(2);
  readings[5].reading.limits = bit_of(ThrottleReason::power_cap);
  state.add(readings, 1000, 2.0);            // 1 J an iteration
  state.add(readings_of(0.1), 100000, 0.1);  // too short to say anything of energy
  const DeviceRecord record = state.describe(*world, &sensors, "", 50);
  EXPECT_EQ(record.unknown, "");
  EXPECT_EQ(record.readings, static_cast<int>(readings.size() + readings_of(0.1).size()));
  EXPECT_DOUBLE_EQ(record.sm_min_mhz, 1000);
  EXPECT_NEAR(record.sm_max_mhz, 1200, 3);
  EXPECT_EQ(record.memory_max_mhz, 0) << "it does not tell";
  EXPECT_DOUBLE_EQ(record.power_mean_w, 490);
  EXPECT_EQ(record.clock_limits, std::vector<std::string>{"power cap"});
  EXPECT_NEAR(record.energy_uj_per_token, 1e6 / 50, 0.02 * 1e6 / 50);
  EXPECT_EQ(record.energy_s, 2);
  EXPECT_EQ(record.energy_from, "counter");
}

TEST(DeviceStates, SayWhyThereIsNoEnergyOrNothingAtAll) {
  const auto world = make_self_world();
  FakeSensors sensors;
  DeviceState state;
  state.add(readings_of(0.3), 10, 0.3);
  const DeviceRecord brief = state.describe(*world, &sensors, "", 50);
  EXPECT_EQ(brief.energy_uj_per_token, 0);
  EXPECT_NE(brief.energy_unknown.find("--min-time"), std::string::npos) << brief.energy_unknown;
  const DeviceRecord none = state.describe(*world, nullptr, "no library", 50);
  EXPECT_EQ(none.unknown, "no library");
  EXPECT_EQ(none.readings, 0);
}

}  // namespace
}  // namespace moebench
