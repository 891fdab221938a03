// SPDX-License-Identifier: Apache-2.0
// Kernels that are brought up while the one before them on the stream still runs (programmatic dependent launch): what a
// launch costs between two short kernels is hidden.
#pragma once

#include <cuda_runtime_api.h>

#include <type_traits>

#include "backends/cuda/runtime/check.h"

namespace moebench::cuda {

/// In a kernel that is launched behind another, before all but work on its own shared memory: returns when that one is
/// done and what it wrote is seen. Then the next one may be brought up.
__device__ inline void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\ngriddepcontrol.launch_dependents;" ::: "memory");
#endif
}

struct LaunchSize {
  unsigned blocks, threads, shared = 0;  ///< threads of a block; bytes of dynamic shared memory
};

/// The attribute of such a launch; on GPUs before Hopper an ordinary launch.
cudaLaunchAttribute behind_previous();

/// Launches a kernel that begins with wait_for_previous(). Throws DeviceError with its name.
template <class... Parameters>
void launch_behind(const char* name, cudaStream_t stream, const LaunchSize& size,
                   void (*kernel)(Parameters...), std::type_identity_t<Parameters>... arguments) {
  cudaLaunchAttribute attribute = behind_previous();
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
