// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/launch.cuh"

#include "backends/cuda/runtime/device_info.h"

namespace moebench::cuda {

cudaLaunchAttribute pdl_attribute() {
  static const bool can = [] {  // a process has GPUs of one kind
    int device = 0;
    MB_CUDA(cudaGetDevice(&device));
    return capability_of(device).major >= 9;
  }();
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = can ? 1 : 0;
  return attribute;
}

}  // namespace moebench::cuda
