// SPDX-License-Identifier: Apache-2.0
// What the copy engine is told of a tensor.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "base/tensor.h"

namespace moebench::cuda::grouped {

/// A 16-bit matrix as `stacked` matrices of equal size, fetched in boxes of 64 x 64 with swizzled rows of 128 bytes.
/// Rows are a multiple of 16 bytes. Throws DeviceError.
CUtensorMap map_of(const TensorView& matrix, std::int64_t stacked);

}  // namespace moebench::cuda::grouped
