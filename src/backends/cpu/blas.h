// SPDX-License-Identifier: Apache-2.0
// Matrix products on the pool's threads: OpenBLAS on one thread each, the split is ours.
// So one team of threads does everything, and the result depends only on the sizes and the thread count.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace moebench::cpu {

/// A row-major fp32 matrix [rows, cols], dense.
struct Matrix {
  const float* data;
  std::int64_t rows, cols;
  bool transposed = false;  ///< use its transpose
};

inline Matrix transposed(Matrix m) {
  m.transposed = !m.transposed;
  return m;
}

/// c [M, N] = a · b, or c += a · b. a is [M, K] and b [K, N] after their transposes; c is dense.
/// One row runs as a matrix-vector product.
void gemm(ThreadPool& pool, const Matrix& a, const Matrix& b, float* c, bool accumulate = false);

/// Makes OpenBLAS leave threads to the pool. Call once before the first gemm.
void use_one_blas_thread();
/// "OpenBLAS 0.3.21 … SkylakeX": version and the kernel it chose for this processor.
const char* blas_version();

}  // namespace moebench::cpu
