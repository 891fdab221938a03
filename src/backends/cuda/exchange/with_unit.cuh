// SPDX-License-Identifier: Apache-2.0
// Rows as bytes: the widest unit that divides them.
#pragma once

#include <cstdint>

#include "backends/cuda/stages/storage.cuh"
#include "base/tensor.h"

namespace moebench::cuda {

/// work.operator()<Unit>(), Unit of 16, 4 or 2 bytes. Both tensors have the same width.
template <class Work>
void with_unit(const TensorView& a, const TensorView& b, Work work) {
  const std::uintptr_t all =
      a.row_bytes() | reinterpret_cast<std::uintptr_t>(a.data) | reinterpret_cast<std::uintptr_t>(b.data);
  if (all % 16 == 0) return work.template operator()<uint4>();
  if (all % 4 == 0) return work.template operator()<std::uint32_t>();
  return work.template operator()<std::uint16_t>();
}

}  // namespace moebench::cuda
