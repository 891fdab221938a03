// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/gemm/blas.h"

#include <limits>
#include <vector>

#include "backends/cuda/runtime/cublas_library.h"
#include "backends/cuda/runtime/formats.h"
#include "base/error.h"
#include "base/text.h"

#define MB_CUBLAS(function, ...) \
  ::moebench::cuda::check(cublas().function(__VA_ARGS__), #function, __FILE__, __LINE__)

namespace moebench::cuda {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32}
                                        << 20;  // what cuBLAS recommends for compute capability 9.0

/// cuBLAS is column-major: a row-major product is the column-major one with the operands exchanged.
cublasOperation_t operation(const Matrix& matrix) { return matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

int to_int(std::int64_t size) {
  MB_ASSERT(size >= 0 && size <= std::numeric_limits<int>::max());
  return static_cast<int>(size);
}

}  // namespace

Blas::Blas(cudaStream_t stream, Memory& memory, BlockingKernel& blocking)
    : stream_(stream), blocking_(blocking), workspace_(memory, kWorkspaceBytes, MemoryTag::workspace) {
  cublasHandle_t handle = nullptr;
  MB_CUBLAS(cublasCreate_v2, &handle);
  handle_.reset(handle);
  MB_CUBLAS(cublasSetStream_v2, handle, stream);
  MB_CUBLAS(cublasSetWorkspace_v2, handle, workspace_.data(),
            workspace_.bytes());  // after the stream, which resets it
  MB_CUBLAS(
      cublasSetMathMode, handle,
      static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
}

Blas::~Blas() { blocking_.unblock(); }  // destroying the handle waits for the device

void Blas::HandleDeleter::operator()(cublasHandle_t handle) const { cublas().cublasDestroy_v2(handle); }

void Blas::multiply(const GemmArgs& p) {
  MB_ASSERT(p.k() == (p.b.transposed ? p.b.cols : p.b.rows));
  if (p.m() == 0 || p.n() == 0) return;
  if (p.k() == 0) {
    const auto bytes = static_cast<std::size_t>(p.m() * p.n()) * size_of(p.c_dtype);
    if (!p.accumulate) MB_CUDA(cudaMemsetAsync(p.c, 0, bytes, stream_));
    return;
  }
  blocking_.count_gemm();
  const float alpha = 1, beta = p.accumulate ? 1 : 0;
  MB_CUBLAS(cublasGemmEx, handle_.get(), operation(p.b), operation(p.a), to_int(p.n()), to_int(p.m()),
            to_int(p.k()), &alpha, p.b.data, library_format(p.dtype).storage, to_int(p.b.cols), p.a.data,
            library_format(p.dtype).storage, to_int(p.a.cols), &beta, p.c, library_format(p.c_dtype).storage,
            to_int(p.n()), library_format(p.dtype).compute, CUBLAS_GEMM_DEFAULT);
}

void Blas::multiply_grouped(std::span<const GemmArgs> products, void** pointers) {
  if (products.empty()) return;
  const std::size_t count = products.size();
  std::vector<cublasOperation_t> op_a, op_b;
  std::vector<int> m, n, k, lda, ldb, ldc;
  std::vector<float> beta;
  std::vector<void*> table(3 * count);
  for (std::size_t i = 0; i < count; ++i) {
    const GemmArgs& p = products[i];
    MB_ASSERT(p.dtype == products[0].dtype && p.c_dtype == products[0].c_dtype && p.m() > 0 && p.n() > 0 &&
              p.k() > 0);
    op_a.push_back(operation(p.a)), op_b.push_back(operation(p.b));
    m.push_back(to_int(p.m())), n.push_back(to_int(p.n())), k.push_back(to_int(p.k()));
    lda.push_back(to_int(p.a.cols)), ldb.push_back(to_int(p.b.cols)), ldc.push_back(to_int(p.n()));
    beta.push_back(p.accumulate ? 1.0f : 0.0f);
    table[i] = const_cast<void*>(p.a.data), table[count + i] = const_cast<void*>(p.b.data),
    table[2 * count + i] = p.c;
  }
  // From pageable memory: read before the call returns, so the table may go out of scope.
  MB_CUDA(
      cudaMemcpyAsync(pointers, table.data(), table.size() * sizeof(void*), cudaMemcpyHostToDevice, stream_));
  const std::vector<float> alpha(count, 1.0f);
  const std::vector<int> one_each(count, 1);
  const cudaDataType type = library_format(products[0].dtype).storage;
  blocking_.count_gemm();
  MB_CUBLAS(cublasGemmGroupedBatchedEx, handle_.get(), op_b.data(), op_a.data(), n.data(), m.data(), k.data(),
            alpha.data(), pointers + count, type, ldb.data(), pointers, type, lda.data(), beta.data(),
            pointers + 2 * count, library_format(products[0].c_dtype).storage, ldc.data(),
            to_int(static_cast<std::int64_t>(count)), one_each.data(),
            library_format(products[0].dtype).compute);
}

std::string Blas::version() const {
  int version = 0;
  MB_CUBLAS(cublasGetVersion_v2, handle_.get(), &version);
  return cat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

}  // namespace moebench::cuda
