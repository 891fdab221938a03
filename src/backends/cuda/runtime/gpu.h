// SPDX-License-Identifier: Apache-2.0
// One GPU as the parts of this backend share it: its stream, memory and cuBLAS handle.
#pragma once

#include <span>
#include <vector>

#include "backends/cuda/gemm/blas.h"
#include "backends/cuda/runtime/blocking_kernel.h"
#include "backends/cuda/runtime/device_memory.h"
#include "backends/cuda/runtime/handles.h"

namespace moebench::cuda {

class Gpu {
 public:
  /// Makes `device` current for this thread, which must be the one that uses it.
  explicit Gpu(int device);

  const int device;
  const Stream stream;
  BlockingKernel blocking{stream.get()};
  DeviceMemory memory{stream.get(), blocking};
  Blas blas{stream.get(), memory, blocking};

  /// A copy on the host of what the work queued so far leaves in `array`. Waits for the stream.
  template <class T>
  std::vector<T> read(std::span<const T> array) {
    std::vector<T> host(array.size());
    memory.copy_to_host(host.data(), array.data(), array.size_bytes());
    return host;
  }
};

inline Gpu::Gpu(int ordinal) : device((MB_CUDA(cudaSetDevice(ordinal)), ordinal)), stream(make_stream()) {}

}  // namespace moebench::cuda
