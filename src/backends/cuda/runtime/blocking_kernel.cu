// SPDX-License-Identifier: Apache-2.0
// Idea: one thread reads a word of host memory until the host writes it. The device's own clock bounds the wait:
// if the host does not unblock, or waits for the stream itself, it loses two seconds and not the run.
#include "backends/cuda/runtime/check.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench::cuda {
namespace {

__device__ unsigned long long nanoseconds() {
  unsigned long long now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

__global__ void blocking_kernel(const volatile std::uint32_t* served, std::uint32_t ticket,
                                unsigned long long limit_ns) {
  const unsigned long long start = nanoseconds();
  while (static_cast<std::int32_t>(ticket - *served) > 0 && nanoseconds() - start < limit_ns)
    __nanosleep(200);
}

}  // namespace

void launch_blocking_kernel(cudaStream_t stream, const std::uint32_t* served, std::uint32_t ticket) {
  constexpr unsigned long long kLimitNs = 2'000'000'000;
  blocking_kernel<<<1, 1, 0, stream>>>(served, ticket, kLimitNs);
  check_launch("blocking_kernel");
}

}  // namespace moebench::cuda
