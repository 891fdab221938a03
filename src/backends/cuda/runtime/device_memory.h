// SPDX-License-Identifier: Apache-2.0
// Memory of one GPU.
#pragma once

#include "backends/cuda/runtime/blocking_kernel.h"
#include "base/memory.h"

namespace moebench::cuda {

class DeviceMemory final : public Memory {
 public:
  /// Copies are ordered on `stream`. All three outlive it: every call that may wait for the device releases
  /// `blocking`.
  DeviceMemory(cudaStream_t stream, BlockingKernel& blocking);
  ~DeviceMemory() override;
  DeviceMemory(const DeviceMemory&) = delete;

  bool host_accessible() const override { return false; }
  void* allocate(std::size_t bytes) override;
  void deallocate(void* pointer, std::size_t bytes) noexcept override;
  void copy_to_host(void* host, const void* device, std::size_t bytes) override;
  void copy_from_host(void* device, const void* host, std::size_t bytes) override;
  void queue_copy(void* to, const void* from, std::size_t bytes) override;
  void finish_copies() override;
  void* allocate_host(std::size_t bytes) override;
  void deallocate_host(void* pointer) noexcept override;
  std::size_t available_bytes() const override;

 private:
  cudaStream_t stream_;
  BlockingKernel& blocking_;
  void* staging_ = nullptr;  ///< pinned; small copies pass through it, which saves the driver's own staging
};

}  // namespace moebench::cuda
