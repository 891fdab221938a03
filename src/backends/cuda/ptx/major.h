// SPDX-License-Identifier: Apache-2.0
// The order of a GEMM's operand in memory and in shared memory.
#pragma once

namespace moebench::cuda::ptx {

/// The dimension that runs along a row: K, or the other one (M of the operand A, N of B).
enum class Major { k, mn };

}  // namespace moebench::cuda::ptx
