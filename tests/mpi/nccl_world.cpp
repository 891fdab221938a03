// SPDX-License-Identifier: Apache-2.0
// NCCL over MPI, on the fake library: host memory or the fake's streams.
#include "comm/nccl/nccl_world.h"
#include "fakes/fake_device.h"
#include "mpi/world_under_test.h"

namespace moebench {

std::unique_ptr<World> make_world_under_test(double timeout_s) {
  return std::make_unique<NcclWorld>(make_world("mpi", timeout_s), timeout_s, make_fake_queue);
}

std::unique_ptr<Memory> make_device_memory() { return std::make_unique<StreamMemory>(); }

}  // namespace moebench
