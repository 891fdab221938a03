// SPDX-License-Identifier: Apache-2.0
// The memory and stream of the GPU that this rank computes on, for tests of what ranks exchange.
#pragma once

#include <memory>

#include "backends/cuda/cuda_backend.h"
#include "mpi/world_under_test.h"

namespace moebench {

/// Opened at the first call, after the ranks have met.
inline Backend& the_gpu() {
  static const std::unique_ptr<Backend> gpu = make_cuda_backend(world_under_test().local_rank());
  return *gpu;
}

/// Every test has its own Memory, on the one GPU of the process.
class GpuMemory final : public Memory {
 public:
  bool host_accessible() const override { return false; }
  void* allocate(std::size_t bytes) override {
    count_allocation(bytes);
    return gpu().allocate(bytes);
  }
  void deallocate(void* pointer, std::size_t bytes) noexcept override {
    gpu().deallocate(pointer, bytes);
    count_deallocation(bytes);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    gpu().copy_to_host(host, device, bytes);
  }
  void copy_from_host(void* device, const void* host, std::size_t bytes) override {
    gpu().copy_from_host(device, host, bytes);
  }
  void queue_copy(void* to, const void* from, std::size_t bytes) override {
    gpu().queue_copy(to, from, bytes);
  }
  void finish_copies() override { gpu().finish_copies(); }
  void* allocate_host(std::size_t bytes) override { return gpu().allocate_host(bytes); }
  void deallocate_host(void* pointer) noexcept override { gpu().deallocate_host(pointer); }
  std::size_t available_bytes() const override { return gpu().available_bytes(); }

 private:
  static Memory& gpu() { return the_gpu().memory(); }
};

}  // namespace moebench
