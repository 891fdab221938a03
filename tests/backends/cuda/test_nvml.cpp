// SPDX-License-Identifier: Apache-2.0
// Reading sensors through a management library that is not the driver's: needs no GPU.
#include <gtest/gtest.h>

#include <cmath>

#include "backends/cuda/runtime/nvml.h"

namespace moebench::cuda {
namespace {

TEST(Nvml, IsReadInTheUnitsOfAReading) {
  std::string why;
  const auto sensors = make_sensors(open_nvml(FAKE_NVML), "0000:19:00.0", why);
  ASSERT_TRUE(sensors) << why;
  EXPECT_EQ(sensors->device_id(), "GPU-1234");
  const SensorReading reading = sensors->read();
  EXPECT_EQ(reading.sm_mhz, 1755);
  EXPECT_EQ(reading.memory_mhz, 3201);
  EXPECT_EQ(reading.temperature_c, 60);
  EXPECT_DOUBLE_EQ(reading.power_w, 612.5);
  EXPECT_DOUBLE_EQ(reading.energy_j, 1234.567);
  EXPECT_EQ(reading.limits, bit_of(ThrottleReason::power_cap)) << "the old name is found; idle is no limit";
}

TEST(Nvml, TellsWhatIsAtTheOtherEndOfEachActiveLink) {
  std::string why;
  const auto sensors = make_sensors(open_nvml(FAKE_NVML), "0000:19:00.0", why);
  ASSERT_TRUE(sensors) << why;
  EXPECT_EQ(sensors->nvlinks(), (std::vector<std::string>{"00000000:CC:00.0", "?"}));
}

TEST(Nvml, LeavesOpenWhatTheDeviceDoesNotTell) {
  std::string why;
  const auto sensors = make_sensors(open_nvml(FAKE_NVML_WITHOUT_ENERGY), "0000:19:00.0", why);
  ASSERT_TRUE(sensors) << why;
  EXPECT_TRUE(std::isnan(sensors->read().energy_j));
  EXPECT_EQ(sensors->read().sm_mhz, 1755);
}

TEST(Nvml, SaysWhyItCannotBeUsed) {
  std::string why;
  EXPECT_EQ(make_sensors(open_nvml("libno-such-nvml.so.1"), "0000:19:00.0", why), nullptr);
  EXPECT_EQ(why.find("NVML cannot be opened: libno-such-nvml.so.1"), 0u) << why;
  EXPECT_EQ(make_sensors(open_nvml("libm.so.6"), "0000:19:00.0", why), nullptr);
  EXPECT_EQ(why.find("NVML has no nvml"), 0u) << why;
  EXPECT_EQ(make_sensors(open_nvml(FAKE_NVML), "0000:1a:00.0", why), nullptr);
  EXPECT_EQ(why, "NVML does not show GPU 0000:1a:00.0: Not Found");
}

TEST(Nvml, NamesEveryReasonForLowClocks) {
  EXPECT_EQ(limits_of(0), 0u);
  EXPECT_EQ(limits_of(0x1), 0u) << "idle";
  EXPECT_EQ(names_of_limits(limits_of(0x1FF)).size(), 8u);
  EXPECT_EQ(names_of_limits(limits_of(0x48)),
            (std::vector<std::string>{"hardware slowdown", "hardware thermal slowdown"}));
}

}  // namespace
}  // namespace moebench::cuda
