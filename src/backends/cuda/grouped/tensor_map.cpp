// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/grouped/tensor_map.h"

#include <cuda_runtime_api.h>

#include "backends/cuda/runtime/check.h"
#include "backends/cuda/runtime/formats.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench::cuda::grouped {
namespace {

/// From the driver, which is not linked: the program also starts without one.
auto encoder() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  constexpr unsigned kSince = 12000;
  MB_CUDA(
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, kSince, cudaEnableDefault, &result));
  if (!found) throw DeviceError("the driver has no cuTensorMapEncodeTiled: it is older than CUDA 12");
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found);
}

}  // namespace

CUtensorMap map_of(const TensorView& matrix, const MapLayout& layout) {
  static const auto encode = encoder();
  const auto rows = static_cast<cuuint64_t>(matrix.rows / layout.stacked),
             cols = static_cast<cuuint64_t>(matrix.cols),
             row_bytes = static_cast<cuuint64_t>(matrix.row_bytes());
  const cuuint64_t sizes[] = {cols, rows, static_cast<cuuint64_t>(layout.stacked)};
  const cuuint64_t strides[] = {row_bytes, row_bytes * rows};  // bytes, of all but the first
  const cuuint32_t box[] = {64, static_cast<cuuint32_t>(layout.box_rows), 1}, every[] = {1, 1, 1};
  const CUtensorMapDataType type = library_format(matrix.dtype).tensor_map;
  CUtensorMap map;
  const CUresult status = encode(&map, type, 3, matrix.data, sizes, strides, box, every,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw DeviceError(cat("cuTensorMapEncodeTiled refused a matrix of ", matrix.rows, " x ", matrix.cols,
                          ": error ", static_cast<int>(status)));
  return map;
}

}  // namespace moebench::cuda::grouped
