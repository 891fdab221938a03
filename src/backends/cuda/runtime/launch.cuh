// SPDX-License-Identifier: Apache-2.0
// Programmatic dependent launch (PDL): the blocks of a kernel are launched while the kernel before it on the stream
// still runs, which hides the launch latency between two short kernels.
#pragma once

#include <cuda_runtime_api.h>

#include <type_traits>

#include "backends/cuda/runtime/check.h"

namespace moebench::cuda {

/// Called in a kernel launched with PDL, before anything but work on its own shared memory: returns when the kernel
/// before it has ended and its writes are visible. Then lets the next kernel launch.
__device__ inline void grid_dependency_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\ngriddepcontrol.launch_dependents;" ::: "memory");
#endif
}

struct LaunchSize {
  unsigned blocks, threads, shared = 0;  ///< threads of a block; bytes of dynamic shared memory
};

/// The attribute of a launch with PDL; on GPUs before Hopper it asks for an ordinary launch.
cudaLaunchAttribute pdl_attribute();

/// Launches a kernel that begins with grid_dependency_wait(). Throws DeviceError with its name.
template <class... Parameters>
void launch_with_pdl(const char* name, cudaStream_t stream, const LaunchSize& size,
                     void (*kernel)(Parameters...), std::type_identity_t<Parameters>... arguments) {
  cudaLaunchAttribute attribute = pdl_attribute();
  const cudaLaunchConfig_t config{.gridDim = {size.blocks},
                                  .blockDim = {size.threads},
                                  .dynamicSmemBytes = size.shared,
                                  .stream = stream,
                                  .attrs = &attribute,
                                  .numAttrs = 1};
  cudaLaunchKernelEx(&config, kernel, arguments...);
  check_launch(name);
}

}  // namespace moebench::cuda
