// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/device_memory.h"

#include <cstring>

#include "backends/cuda/runtime/check.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {
constexpr std::size_t kStagingBytes = std::size_t{64} << 10;
}

DeviceMemory::DeviceMemory(cudaStream_t stream, BlockingKernel& blocking)
    : stream_(stream), blocking_(blocking) {
  MB_CUDA(cudaHostAlloc(&staging_, kStagingBytes, cudaHostAllocDefault));
}

DeviceMemory::~DeviceMemory() { cudaFreeHost(staging_); }

void* DeviceMemory::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  blocking_.unblock();
  void* pointer = nullptr;
  const cudaError_t status = cudaMalloc(&pointer, bytes);
  if (status == cudaErrorMemoryAllocation || status == cudaErrorInvalidValue) {
    cudaGetLastError();
    throw MemoryError(
        bytes, cat("cannot allocate ", bytes, " bytes of GPU memory: ", available_bytes(), " are free"));
  }
  check(status, "cudaMalloc", __FILE__, __LINE__);
  // Products read up to a tile beyond the last row and multiply it by zero: it must be a number.
  MB_CUDA(cudaMemsetAsync(pointer, 0, bytes, stream_));
  MB_CUDA(cudaStreamSynchronize(stream_));  // before another rank may store to it
  count_allocation(bytes);
  return pointer;
}

void DeviceMemory::deallocate(void* pointer, std::size_t bytes) noexcept {
  blocking_.unblock();
  cudaFree(pointer);
  count_deallocation(bytes);
}

void DeviceMemory::copy_to_host(void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  blocking_.unblock();
  void* to = bytes <= kStagingBytes ? staging_ : host;
  MB_CUDA(cudaMemcpyAsync(to, device, bytes, cudaMemcpyDeviceToHost, stream_));
  MB_CUDA(cudaStreamSynchronize(stream_));
  if (to == staging_) std::memcpy(host, staging_, bytes);
}

void DeviceMemory::copy_from_host(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  blocking_.unblock();
  const bool staged = bytes <= kStagingBytes;
  if (staged) std::memcpy(staging_, host, bytes);
  MB_CUDA(cudaMemcpyAsync(device, staged ? staging_ : host, bytes, cudaMemcpyHostToDevice, stream_));
  MB_CUDA(cudaStreamSynchronize(stream_));
}

void DeviceMemory::queue_copy(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) MB_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_));
}

void DeviceMemory::finish_copies() {
  blocking_.unblock();
  MB_CUDA(cudaStreamSynchronize(stream_));
}

void* DeviceMemory::allocate_host(std::size_t bytes) {
  blocking_.unblock();
  void* pointer = nullptr;
  const cudaError_t status = cudaHostAlloc(&pointer, bytes, cudaHostAllocDefault);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw MemoryError(bytes, cat("cannot allocate ", bytes, " bytes of page-locked host memory"));
  }
  check(status, "cudaHostAlloc", __FILE__, __LINE__);
  return pointer;
}

void DeviceMemory::deallocate_host(void* pointer) noexcept {
  blocking_.unblock();
  cudaFreeHost(pointer);
}

std::size_t DeviceMemory::available_bytes() const {
  std::size_t available = 0, total = 0;
  MB_CUDA(cudaMemGetInfo(&available, &total));
  return available;
}

}  // namespace moebench::cuda
