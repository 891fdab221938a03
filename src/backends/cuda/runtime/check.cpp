// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/check.h"

#include "backends/cuda/runtime/cublas_library.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {

/// After these every later call of the process fails too.
bool loses_context(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
      return true;
    default:
      return false;
  }
}

[[noreturn]] void fail(cudaError_t status, const std::string& what) {
  cudaGetLastError();  // an error that passes must not be seen again by the next check
  throw DeviceError(cat(what, ": ", cudaGetErrorName(status), ", ", cudaGetErrorString(status)),
                    loses_context(status));
}

}  // namespace

void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status != cudaSuccess) fail(status, cat(call, " at ", file, ":", line));
}

void check(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(cat(call, " at ", file, ":", line, ": ", cublas().cublasGetStatusString(status)));
}

void check_launch(const char* kernel) {
  if (const cudaError_t status = cudaGetLastError(); status != cudaSuccess)
    fail(status, cat("launch of ", kernel));
}

}  // namespace moebench::cuda
