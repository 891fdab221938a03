// SPDX-License-Identifier: Apache-2.0
// A management library of one GPU that always says the same: 1755 MHz, 60 °C, 612.5 W, 1234.567 J, at its power cap.
// Its first two NVLinks are active, and the second does not tell what is at its other end. It has the throttle reasons under their old name, and refuses to tell energy where NVML_WITHOUT_ENERGY is 1.
#include <cstring>

extern "C" {

int nvmlInit_v2() { return 0; }
const char* nvmlErrorString(int status) { return status == 6 ? "Not Found" : "Unknown Error"; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
  static int gpu;
  *device = &gpu;
  return std::strcmp(bus_id, "0000:19:00.0") == 0 ? 0 : 6;
}
int nvmlDeviceGetUUID(void*, char* id, unsigned length) {
  std::strncpy(id, "GPU-1234", length);
  return 0;
}
int nvmlDeviceGetClockInfo(void*, int clock, unsigned* mhz) {
  *mhz = clock == 1 ? 1755 : clock == 2 ? 3201 : 0;
  return 0;
}
int nvmlDeviceGetTemperature(void*, int sensor, unsigned* celsius) {
  *celsius = 60;
  return sensor == 0 ? 0 : 2;
}
int nvmlDeviceGetPowerUsage(void*, unsigned* milliwatts) {
  *milliwatts = 612500;
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  *millijoules = 1234567;
  return NVML_WITHOUT_ENERGY ? 3 : 0;
}
int nvmlDeviceGetNvLinkState(void*, unsigned link, unsigned* is_active) {
  *is_active = link < 2;
  return link < 4 ? 0 : 2;
}
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void*, unsigned link, void* info) {
  std::strcpy(static_cast<char*>(info) + 36, "00000000:CC:00.0");
  return link == 0 ? 0 : 3;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void*, unsigned long long* bits) {
  *bits = 0x4 | 0x1;
  return 0;
}
}
