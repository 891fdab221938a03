// SPDX-License-Identifier: Apache-2.0
// The fake NCCL over MPI under mpirun, else over sockets: host memory or the fake's streams.
#include "comm/nccl/nccl_world.h"

#include <cstdlib>

#include "comm/tcp/world.h"
#include "fakes/fake_device.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

std::unique_ptr<World> make_control(double timeout_s) {
  const Launch launch = detect_launch();
  if (launch.launcher == "mpirun") return make_world({.comm = "mpi", .timeout_s = timeout_s});
  const auto place = find_rendezvous(launch, [](const char* name) { return std::getenv(name); });
  return make_tcp_world(launch, place.value(), timeout_s);
}

}  // namespace

std::unique_ptr<World> make_world_under_test(double timeout_s) {
  return std::make_unique<NcclWorld>(make_control(timeout_s), timeout_s, make_fake_queue);
}

std::unique_ptr<Memory> make_device_memory() { return std::make_unique<StreamMemory>(); }

}  // namespace moebench
