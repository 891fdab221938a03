// SPDX-License-Identifier: Apache-2.0
// The backend of a test of ranks: the GPU of this rank's place on its host, or one thread.
#pragma once

#include <memory>
#include <vector>

#if MOEBENCH_RANKS_ON_CUDA
#include "backends/cuda/cuda_backend.h"
#include "mpi/world_under_test.h"
#else
#include "backends/cpu/cpu_backend.h"
#endif

namespace moebench {

inline std::unique_ptr<Backend> backend_under_test() {
#if MOEBENCH_RANKS_ON_CUDA
  return make_cuda_backend(world_under_test().local_rank());
#else
  return make_cpu_backend(1);
#endif
}

inline std::vector<float> download(Backend& backend, const TensorView& tensor) {
  std::vector<float> host(static_cast<std::size_t>(tensor.size()));
  backend.download(host, tensor);
  return host;
}

}  // namespace moebench
