// SPDX-License-Identifier: Apache-2.0
// Every CUDA and cuBLAS call is wrapped in one of these: a failure becomes a DeviceError naming call and
// place.
#pragma once

#include <cublas_api.h>
#include <cuda_runtime_api.h>

namespace moebench::cuda {

/// Throws DeviceError unless `status` is success; sticky if the device's context is lost.
void check(cudaError_t status, const char* call, const char* file, int line);
void check(cublasStatus_t status, const char* call, const char* file, int line);
/// After every <<<>>>: throws DeviceError naming the kernel that could not be launched.
void check_launch(const char* kernel);

}  // namespace moebench::cuda

#define MB_CUDA(call) ::moebench::cuda::check((call), #call, __FILE__, __LINE__)
