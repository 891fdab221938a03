// SPDX-License-Identifier: Apache-2.0
// Holds a stream while work is queued behind it, so that the first kernels do not wait for their launches.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace moebench::cuda {

/// A kernel that spins until the host lets go, or for two seconds: whoever waits for the stream must
/// release() first, and everything in this backend that waits does. Off under profilers, debuggers and
/// CUDA_LAUNCH_BLOCKING, which run kernels one by one.
class Hold {
 public:
  explicit Hold(cudaStream_t stream);
  ~Hold();
  Hold(const Hold&) = delete;

  void take();
  void release();
  /// To be told of each matrix product queued: lets go before the launch queue is full, where the host would
  /// wait.
  void count_product();

 private:
  cudaStream_t stream_;
  bool allowed_;
  std::uint32_t* ticket_served_ = nullptr;  ///< pinned, read by the device
  std::uint32_t ticket_ = 0;
  int products_ = 0;
};

}  // namespace moebench::cuda
