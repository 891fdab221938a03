// SPDX-License-Identifier: Apache-2.0
#include "base/host_memory.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

namespace moebench {
namespace {

/// A line of /proc, "VmHWM:  1234 kB", in bytes; NaN if there is none.
double field_of(const char* file, std::string_view name) {
  std::ifstream in(file);
  for (std::string word; in >> word;)
    if (double kib = 0; word == name && in >> kib) return kib * 1024;
  return std::nan("");
}

}  // namespace

std::size_t available_host_bytes() {
  std::size_t available = std::numeric_limits<std::size_t>::max();
  if (const double bytes = field_of("/proc/meminfo", "MemAvailable:"); !std::isnan(bytes))
    available = static_cast<std::size_t>(bytes);
  std::ifstream limit_file("/sys/fs/cgroup/memory.max"), used_file("/sys/fs/cgroup/memory.current");
  if (std::size_t limit = 0, used = 0; limit_file >> limit && used_file >> used)
    available = std::min(available, limit > used ? limit - used : 0);
  return available;
}

ResidentPeak::ResidentPeak() {
  std::ofstream("/proc/self/clear_refs") << "5";  // the highest becomes the present; nothing else is cleared
  before_ = field_of("/proc/self/status", "VmRSS:");
}

double ResidentPeak::grown_bytes() const {
  return std::max(0.0, field_of("/proc/self/status", "VmHWM:") - before_);
}

}  // namespace moebench
