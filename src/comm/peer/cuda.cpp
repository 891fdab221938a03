// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "comm/peer/mapping.h"

namespace moebench {
namespace {

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw EnvironmentError(cat(call, ": ", cudaGetErrorName(status), ", ", cudaGetErrorString(status)));
}

/// Small allocations share one block of the driver, and a handle opens the whole block: take blocks of our own.
constexpr std::size_t kBlock = std::size_t{2} << 20;

class CudaMapping final : public PeerMapping {
 public:
  CudaMapping(Memory& memory, std::size_t bytes) : buffer_(memory, (bytes + kBlock - 1) / kBlock * kBlock) {
    check(cudaMemset(buffer_.data(), 0, buffer_.bytes()), "cudaMemset");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }
  ~CudaMapping() override {
    cudaDeviceSynchronize();
    for (void* block : mapped_) cudaIpcCloseMemHandle(block);
  }

  std::byte* own() const override { return buffer_.as<std::byte>(); }
  /// The handle, and in its last word the GPU's UUID as a hash.
  PeerHandle handle() const override {
    PeerHandle handle{};
    cudaIpcMemHandle_t ipc;
    check(cudaIpcGetMemHandle(&ipc, buffer_.data()), "cudaIpcGetMemHandle");
    static_assert(sizeof ipc == 8 * sizeof(std::int64_t));
    std::memcpy(handle.data(), &ipc, sizeof ipc);
    handle[8] = own_gpu();
    return handle;
  }
  std::byte* map(const PeerHandle& handle) override {
    if (handle[8] == own_gpu()) throw EnvironmentError("two ranks share one GPU");
    cudaIpcMemHandle_t ipc;
    std::memcpy(&ipc, handle.data(), sizeof ipc);
    void* block = nullptr;
    check(cudaIpcOpenMemHandle(&block, ipc, cudaIpcMemLazyEnablePeerAccess), "cudaIpcOpenMemHandle");
    mapped_.push_back(block);
    return static_cast<std::byte*>(block);
  }
  void write(std::byte* to, const void* host, std::size_t bytes) override {
    check(cudaMemcpy(to, host, bytes, cudaMemcpyDefault), "cudaMemcpy to a peer");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }
  void read(void* host, const std::byte* from, std::size_t bytes) override {
    check(cudaMemcpy(host, from, bytes, cudaMemcpyDefault), "cudaMemcpy from a peer");
  }

 private:
  static std::int64_t own_gpu() {
    int device = 0;
    cudaDeviceProp properties;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    std::int64_t words[2];
    static_assert(sizeof words == sizeof properties.uuid);
    std::memcpy(words, &properties.uuid, sizeof words);
    return words[0] ^ words[1];
  }

  Buffer buffer_;
  std::vector<void*> mapped_;
};

}  // namespace

std::unique_ptr<PeerMapping> make_cuda_mapping(Memory& memory, std::size_t bytes) {
  return std::make_unique<CudaMapping>(memory, bytes);
}

}  // namespace moebench
