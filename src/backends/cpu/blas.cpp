// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/blas.h"

#include <cblas.h>

#include <algorithm>

#include "base/error.h"

namespace moebench::cpu {
namespace {

CBLAS_TRANSPOSE trans(const Matrix& m) { return m.transposed ? CblasTrans : CblasNoTrans; }

/// Rows [r0, r1) and columns [c0, c1) of the product, on this thread.
void gemm_block(const Matrix& a, const Matrix& b, float* c, std::int64_t n, float beta, std::int64_t r0,
                std::int64_t r1, std::int64_t c0, std::int64_t c1) {
  const std::int64_t k = a.transposed ? a.rows : a.cols;
  const float* a_block = a.data + (a.transposed ? r0 : r0 * a.cols);
  const float* b_block = b.data + (b.transposed ? c0 * b.cols : c0);
  const auto rows = static_cast<blasint>(r1 - r0), cols = static_cast<blasint>(c1 - c0);
  if (rows == 1 && !a.transposed) {  // y = Bᵀ a
    if (b.transposed)
      cblas_sgemv(CblasRowMajor, CblasNoTrans, cols, static_cast<blasint>(k), 1.0f, b_block,
                  static_cast<blasint>(b.cols), a_block, 1, beta, c + r0 * n + c0, 1);
    else
      cblas_sgemv(CblasRowMajor, CblasTrans, static_cast<blasint>(k), cols, 1.0f, b_block,
                  static_cast<blasint>(b.cols), a_block, 1, beta, c + r0 * n + c0, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, trans(a), trans(b), rows, cols, static_cast<blasint>(k), 1.0f, a_block,
              static_cast<blasint>(a.cols), b_block, static_cast<blasint>(b.cols), beta, c + r0 * n + c0,
              static_cast<blasint>(n));
}

}  // namespace

void gemm(ThreadPool& pool, const Matrix& a, const Matrix& b, float* c, bool accumulate) {
  const std::int64_t m = a.transposed ? a.cols : a.rows, k = a.transposed ? a.rows : a.cols;
  const std::int64_t n = b.transposed ? b.rows : b.cols;
  MB_ASSERT(k == (b.transposed ? b.cols : b.rows));
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate) std::fill_n(c, m * n, 0.0f);
    return;
  }
  const float beta = accumulate ? 1.0f : 0.0f;
  constexpr std::int64_t kGrain = 64;  // a share this thin still fills OpenBLAS's register tile
  if (m >= n)
    pool.parallel_for(m, kGrain, [&](std::int64_t r0, std::int64_t r1) { gemm_block(a, b, c, n, beta, r0, r1, 0, n); });
  else
    pool.parallel_for(n, kGrain, [&](std::int64_t c0, std::int64_t c1) { gemm_block(a, b, c, n, beta, 0, m, c0, c1); });
}

void use_one_blas_thread() { openblas_set_num_threads(1); }
const char* blas_version() { return openblas_get_config(); }

}  // namespace moebench::cpu
