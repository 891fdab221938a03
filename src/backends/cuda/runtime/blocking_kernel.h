// SPDX-License-Identifier: Apache-2.0
// A kernel that blocks a stream while work is queued behind it, so that launch latency is not measured.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace moebench::cuda {

/// Pattern:
///
///   blocking.block();                     // a kernel of one thread spins on the stream
///   cudaEventRecord(begin, stream);
///   …queue the work to be timed…          // nothing of it starts yet
///   cudaEventRecord(end, stream);
///   blocking.unblock();                   // the work runs, without gaps between its kernels
///   cudaStreamSynchronize(stream);
///
/// Caveats. The host must not wait for the stream between block() and unblock(); every call of this backend that
/// waits unblocks first. A host that waits by itself loses two seconds, when the kernel gives up, and the times are
/// wrong. The launch queue is finite (1024): beyond it a launch waits for the device, so count_gemm() unblocks before
/// it is full. Does nothing under profilers, debuggers and CUDA_LAUNCH_BLOCKING, which run kernels one by one.
class BlockingKernel {
 public:
  explicit BlockingKernel(cudaStream_t stream);
  ~BlockingKernel();
  BlockingKernel(const BlockingKernel&) = delete;

  void block();
  void unblock();
  /// Called for each matrix product that is queued.
  void count_gemm();

 private:
  cudaStream_t stream_;
  bool allowed_;
  std::uint32_t* ticket_served_ = nullptr;  ///< pinned, read by the device
  std::uint32_t ticket_ = 0;  ///< the kernel with this ticket ends when ticket_served_ reaches it
  int gemms_ = 0;             ///< since block()
};

}  // namespace moebench::cuda
