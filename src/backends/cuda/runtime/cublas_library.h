// SPDX-License-Identifier: Apache-2.0
// The cuBLAS functions in use, opened at run time: the program also starts where cuBLAS is not installed.
#pragma once

#include <cublas_api.h>

#include <string>

namespace moebench::cuda {

/// Named as in the library, so that a call reads like one.
struct CublasLibrary {
  std::string missing;  ///< why it cannot be used, or empty

  cublasStatus_t (*cublasCreate_v2)(cublasHandle_t*);
  cublasStatus_t (*cublasDestroy_v2)(cublasHandle_t);
  cublasStatus_t (*cublasGetVersion_v2)(cublasHandle_t, int*);
  cublasStatus_t (*cublasSetStream_v2)(cublasHandle_t, cudaStream_t);
  cublasStatus_t (*cublasSetWorkspace_v2)(cublasHandle_t, void*, std::size_t);
  cublasStatus_t (*cublasSetMathMode)(cublasHandle_t, cublasMath_t);
  const char* (*cublasGetStatusString)(cublasStatus_t);
  cublasStatus_t (*cublasGemmEx)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k,
                                 const void* alpha, const void* a, cudaDataType, int lda, const void* b,
                                 cudaDataType, int ldb, const void* beta, void* c, cudaDataType, int ldc,
                                 cublasComputeType_t, cublasGemmAlgo_t);
  cublasStatus_t (*cublasGemmGroupedBatchedEx)(cublasHandle_t, const cublasOperation_t*,
                                               const cublasOperation_t*, const int* m, const int* n,
                                               const int* k, const void* alpha, const void* const* a,
                                               cudaDataType_t, const int* lda, const void* const* b,
                                               cudaDataType_t, const int* ldb, const void* beta,
                                               void* const* c, cudaDataType_t, const int* ldc, int groups,
                                               const int* group_size, cublasComputeType_t);
};

/// Opened at the first call.
const CublasLibrary& cublas();

}  // namespace moebench::cuda
