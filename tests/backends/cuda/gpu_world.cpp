// SPDX-License-Identifier: Apache-2.0
// Ranks that compute on GPUs, sharing them if there are too few: over MPI under mpirun, else over NCCL.
#include <cstdio>
#include <cstdlib>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/gpu_memory.h"
#include "base/text.h"
#include "comm/nccl/world.h"
#include "comm/tcp/world.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

[[noreturn]] void skip(const std::string& why) {
  constexpr int kSkipped = 77;
  std::printf("SKIPPED: %s\n", why.c_str());
  std::fflush(stdout);
  std::_Exit(kSkipped);
}

/// NCCL refuses two ranks on one GPU of one host. Each that says it is a host of its own reaches the others
/// through sockets: no way to measure anything, but the same calls with the same results.
void claim_a_host(const Launch& launch) {
  setenv("NCCL_HOSTID", cat("rank", launch.rank).c_str(), 0);
  setenv("NCCL_SOCKET_IFNAME", "lo", 0);
}

}  // namespace

std::unique_ptr<World> make_world_under_test(double timeout_s) {
  if (const std::string why = why_no_cuda(); !why.empty()) skip(why);
  const Launch launch = detect_launch();
  if (launch.launcher == "mpirun") return make_world({.comm = "mpi", .timeout_s = timeout_s});
  if (const std::string why = why_not_comm("nccl", 1); !why.empty()) skip(why);
  if (!why_not_comm("nccl", launch.size).empty()) claim_a_host(launch);
  const auto place = find_rendezvous(launch, [](const char* name) { return std::getenv(name); });
  return make_nccl_world(make_tcp_world(launch, place.value(), timeout_s), timeout_s);
}

std::unique_ptr<Memory> make_device_memory() { return std::make_unique<GpuMemory>(); }

}  // namespace moebench
