// SPDX-License-Identifier: Apache-2.0
// TMA descriptors.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "base/tensor.h"

namespace moebench::cuda::grouped {

/// A 16-bit matrix as a tensor of three dimensions, and the box of one TMA instruction: `box_rows` rows of 64
/// elements.
struct MapLayout {
  std::int64_t stacked = 1;  ///< matrices of equal size, one below the other: the third dimension
  int box_rows = 64;
};

/// Boxes lie in shared memory in rows of 128 bytes, swizzled. Rows of a matrix are a multiple of 16 bytes.
/// Throws DeviceError.
CUtensorMap map_of(const TensorView& matrix, const MapLayout& layout = {});

}  // namespace moebench::cuda::grouped
