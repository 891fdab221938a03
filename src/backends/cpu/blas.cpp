// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/blas.h"

#include <cblas.h>

#include <algorithm>

#include "base/error.h"

namespace moebench::cpu {
namespace {

CBLAS_TRANSPOSE trans(const Matrix& m) { return m.transposed ? CblasTrans : CblasNoTrans; }
std::int64_t rows_of(const Matrix& m) { return m.transposed ? m.cols : m.rows; }
std::int64_t cols_of(const Matrix& m) { return m.transposed ? m.rows : m.cols; }

/// Rows, or columns, [first, first + count) of the matrix as it is used.
Matrix rows_slice(Matrix m, std::int64_t first, std::int64_t count) {
  m.data += m.transposed ? first : first * m.stride;
  (m.transposed ? m.cols : m.rows) = count;
  return m;
}
Matrix cols_slice(const Matrix& m, std::int64_t first, std::int64_t count) {
  return transposed(rows_slice(transposed(m), first, count));
}

blasint narrow(std::int64_t value) {
  MB_ASSERT(value <= std::int64_t{0x7FFFFFFF});
  return static_cast<blasint>(value);
}

}  // namespace

void gemm_here(const Matrix& a, const Matrix& b, float* c, std::int64_t c_stride, bool accumulate) {
  const blasint m = narrow(rows_of(a)), k = narrow(cols_of(a)), n = narrow(cols_of(b));
  MB_ASSERT(k == rows_of(b));
  if (m == 0 || n == 0) return;
  if (k == 0) {  // a sum of nothing, which BLAS libraries refuse
    for (blasint row = 0; row < m && !accumulate; ++row) std::fill_n(c + row * c_stride, n, 0.0f);
    return;
  }
  const float beta = accumulate ? 1.0f : 0.0f;
  const blasint a_stride = narrow(a.stride), b_stride = narrow(b.stride);
  if (m == 1) {  // c = bᵀ · a
    const CBLAS_TRANSPOSE other = b.transposed ? CblasNoTrans : CblasTrans;
    cblas_sgemv(CblasRowMajor, other, narrow(b.rows), narrow(b.cols), 1.0f, b.data, b_stride, a.data,
                a.transposed ? a_stride : 1, beta, c, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, trans(a), trans(b), m, n, k, 1.0f, a.data, a_stride, b.data, b_stride, beta, c,
              narrow(c_stride));
}

void gemm(ThreadPool& pool, const Matrix& a, const Matrix& b, float* c, bool accumulate) {
  const std::int64_t m = rows_of(a), n = cols_of(b);
  constexpr std::int64_t kGrain = 64;  // a share this thin still fills OpenBLAS's register tile
  if (m >= n)
    pool.parallel_for(m, kGrain, [&](std::int64_t begin, std::int64_t end) {
      gemm_here(rows_slice(a, begin, end - begin), b, c + begin * n, n, accumulate);
    });
  else
    pool.parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
      gemm_here(a, cols_slice(b, begin, end - begin), c + begin, n, accumulate);
    });
}

void use_one_blas_thread() { openblas_set_num_threads(1); }
const char* blas_version() { return openblas_get_config(); }

}  // namespace moebench::cpu
