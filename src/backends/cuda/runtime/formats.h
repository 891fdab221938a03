// SPDX-License-Identifier: Apache-2.0
// The formats by their names in cuBLAS and TMA.
#pragma once

#include <cublas_v2.h>
#include <cuda.h>

#include "base/dtype.h"
#include "base/error.h"

namespace moebench::cuda {

struct LibraryFormat {
  cudaDataType storage;
  cublasComputeType_t compute;
  CUtensorMapDataType tensor_map;
};

inline LibraryFormat library_format(DType dtype) {
  switch (dtype) {
    case DType::fp32:
      return {CUDA_R_32F, CUBLAS_COMPUTE_32F, CU_TENSOR_MAP_DATA_TYPE_FLOAT32};
    case DType::tf32:
      return {CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CU_TENSOR_MAP_DATA_TYPE_FLOAT32};
    case DType::bf16:
      return {CUDA_R_16BF, CUBLAS_COMPUTE_32F, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16};
    case DType::fp16:
      return {CUDA_R_16F, CUBLAS_COMPUTE_32F, CU_TENSOR_MAP_DATA_TYPE_FLOAT16};
  }
  MB_ASSERT(false);
}

}  // namespace moebench::cuda
