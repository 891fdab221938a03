// SPDX-License-Identifier: Apache-2.0
// Sums over a group, in place, in the format the numbers are stored in.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "comm/mpi/group.h"

namespace moebench {

/// data [size] of `dtype`, in host memory, becomes the sum over the group. bf16 and fp16 are added in fp32
/// and rounded after each addition.
void sum_over(const Group& group, void* data, std::int64_t size, DType dtype);

}  // namespace moebench
