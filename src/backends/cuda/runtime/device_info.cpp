// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/device_info.h"

#include <fstream>

#include "backends/cuda/runtime/check.h"
#include "backends/cuda/runtime/cublas_library.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {

constexpr int kMinMajor = 8;  // bfloat16, warp-wide reductions

std::string version_text(int version) { return cat(version / 1000, ".", version % 1000 / 10); }

/// "580.159.04" of the kernel's module; empty in a container that hides it.
std::string module_version() {
  std::ifstream file("/sys/module/nvidia/version");
  std::string version;
  std::getline(file, version);
  return version;
}

}  // namespace

bool is_there() {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return false;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  return status == cudaSuccess ? count > 0 : status != cudaErrorNoDevice && status != cudaErrorStubLibrary;
}

int count_devices(std::string& why) {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
    why = "no NVIDIA driver is installed";
    return 0;
  }
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  why = status == cudaSuccess ? "the driver shows no GPU" : cudaGetErrorString(status);
  return 0;
}

Capability capability_of(int device) {
  Capability found{};
  MB_CUDA(cudaDeviceGetAttribute(&found.major, cudaDevAttrComputeCapabilityMajor, device));
  MB_CUDA(cudaDeviceGetAttribute(&found.minor, cudaDevAttrComputeCapabilityMinor, device));
  return found;
}

std::string why_not(int device) {
  const auto [major, minor] = capability_of(device);
  if (major < kMinMajor)
    return cat("GPU ", device, " has compute capability ", major, ".", minor, ", but ", kMinMajor,
               ".0 is the least");
  return cublas().missing;
}

std::string pci_bus_id(int device) {
  char id[32] = {};
  MB_CUDA(cudaDeviceGetPCIBusId(id, sizeof id, device));
  return id;
}

DeviceInfo describe(int device) {
  cudaDeviceProp properties{};
  MB_CUDA(cudaGetDeviceProperties(&properties, device));
  int runtime = 0, driver = 0;
  MB_CUDA(cudaRuntimeGetVersion(&runtime));
  MB_CUDA(cudaDriverGetVersion(&driver));
  const std::string module = module_version();
  return {
      .name = properties.name,
      .kind = "cuda",
      .units = properties.multiProcessorCount,
      .memory_bytes = properties.totalGlobalMem,
      .cache_bytes = static_cast<std::size_t>(properties.l2CacheSize),
      .versions = {{"compute capability", cat(properties.major, ".", properties.minor)},
                   {"cuda runtime", version_text(runtime)},
                   {"cuda driver", cat(version_text(driver), module.empty() ? "" : cat(" (", module, ")"))}},
      .bus_id = pci_bus_id(device),
      .uuid = gpu_uuid_text(properties.uuid.bytes)};
}

}  // namespace moebench::cuda
