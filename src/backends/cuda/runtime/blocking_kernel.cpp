// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/blocking_kernel.h"

#include <atomic>
#include <cstdlib>

#include "backends/cuda/runtime/check.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench::cuda {
namespace {

/// Set by Nsight Systems, Nsight Compute, CUPTI injection and compute-sanitizer in the programs they start.
bool kernels_run_one_by_one() {
  for (const char* variable :
       {"CUDA_INJECTION64_PATH", "NSYS_PROFILING_SESSION_ID", "NV_NSIGHT_INJECTION_PORT_BASE",
        "NV_COMPUTE_PROFILER_PERFWORKS_DIR", "NV_TPS_LAUNCH_UUID", "NV_SANITIZER_INJECTION_PORT_BASE",
        "CUDA_DEBUGGER_SOFTWARE_PREEMPTION"})
    if (std::getenv(variable)) return true;
  const char* blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
  return blocking && *blocking != '0' && *blocking != '\0';
}

}  // namespace

BlockingKernel::BlockingKernel(cudaStream_t stream) : stream_(stream), allowed_(!kernels_run_one_by_one()) {
  void* pinned = nullptr;
  MB_CUDA(cudaHostAlloc(&pinned, sizeof *ticket_served_, cudaHostAllocMapped));
  ticket_served_ = static_cast<std::uint32_t*>(pinned);
  *ticket_served_ = 0;
}

BlockingKernel::~BlockingKernel() {
  unblock();
  cudaStreamSynchronize(stream_);  // the kernel reads what is freed next
  cudaFreeHost(ticket_served_);
}

void BlockingKernel::block() {
  if (!allowed_) return;
  unblock();
  gemms_ = 0;
  void* device = nullptr;
  MB_CUDA(cudaHostGetDevicePointer(&device, ticket_served_, 0));
  launch_blocking_kernel(stream_, static_cast<std::uint32_t*>(device), ++ticket_);
}

void BlockingKernel::unblock() { std::atomic_ref(*ticket_served_).store(ticket_, std::memory_order_release); }

void BlockingKernel::count_gemm() {
  constexpr int kMaxGemms = 100;  // a GEMM and its neighbours are at most 8 launches; the queue has 1024
  if (++gemms_ == kMaxGemms) unblock();
}

}  // namespace moebench::cuda
