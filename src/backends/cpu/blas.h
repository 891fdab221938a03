// SPDX-License-Identifier: Apache-2.0
// Matrix products on the pool's threads: OpenBLAS on one thread each, the split is ours.
// So one team of threads does everything, and the result depends only on the sizes and the thread count.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace moebench::cpu {

/// A row-major fp32 matrix [rows, cols]; rows lie `stride` elements apart.
struct Matrix {
  const float* data;
  std::int64_t rows, cols, stride;
  bool transposed = false;  ///< use its transpose

  Matrix(const float* values, std::int64_t row_count, std::int64_t col_count)
      : Matrix(values, row_count, col_count, col_count) {}
  Matrix(const float* values, std::int64_t row_count, std::int64_t col_count, std::int64_t row_stride)
      : data(values), rows(row_count), cols(col_count), stride(row_stride) {}
};

inline Matrix transposed(Matrix m) {
  m.transposed = !m.transposed;
  return m;
}

/// c [M, N] = a · b, or c += a · b, on this thread. a is [M, K] and b [K, N] after their transposes; rows of c lie
/// `c_stride` apart. One row runs as a matrix-vector product.
void gemm_here(const Matrix& a, const Matrix& b, float* c, std::int64_t c_stride, bool accumulate = false);
/// The same on all threads of the pool; c is dense.
void gemm(ThreadPool& pool, const Matrix& a, const Matrix& b, float* c, bool accumulate = false);

/// Makes OpenBLAS leave threads to the pool. Call once before the first product.
void use_one_blas_thread();
/// "OpenBLAS 0.3.21 … SkylakeX": version and the kernel it chose for this processor.
const char* blas_version();

}  // namespace moebench::cpu
