// SPDX-License-Identifier: Apache-2.0
#include "comm/memories.h"
#include "mpi/world_under_test.h"

namespace moebench {

std::unique_ptr<World> make_world_under_test(double timeout_s) {
  return make_world({.comm = "mpi", .timeout_s = timeout_s});
}
std::unique_ptr<Memory> make_device_memory() { return std::make_unique<FarMemory>(); }

}  // namespace moebench
