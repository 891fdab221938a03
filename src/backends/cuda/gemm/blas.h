// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLAS: row-major, fp32 accumulation, the same bits every time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "backends/cuda/runtime/blocking_kernel.h"
#include "backends/cuda/runtime/check.h"
#include "base/tensor.h"

namespace moebench::cuda {

/// A row-major matrix [rows, cols] in device memory, dense.
struct Matrix {
  const void* data;
  std::int64_t rows, cols;
  bool transposed = false;  ///< use its transpose
};

inline Matrix transposed(Matrix m) {
  m.transposed = !m.transposed;
  return m;
}
inline Matrix matrix_of(const TensorView& view) { return {view.data, view.rows, view.cols}; }

/// c [M, N] = a [M, K] · b [K, N] after their transposes, or c += a · b; c is dense.
struct GemmArgs {
  Matrix a, b;
  DType dtype;  ///< of a and b: decides the math mode
  void* c;
  DType c_dtype;
  bool accumulate = false;
  std::int64_t lane = 0;  ///< products of different lanes may run side by side

  std::int64_t m() const { return a.transposed ? a.cols : a.rows; }
  std::int64_t k() const { return a.transposed ? a.rows : a.cols; }
  std::int64_t n() const { return b.transposed ? b.rows : b.cols; }
};

/// One cuBLAS handle on one stream, with a workspace of its own: so it can be captured in a graph, and a
/// product's bits do not depend on what else runs. fp32 never uses TF32; tf32 always; bf16 and fp16 reduce in
/// fp32.
class Blas {
 public:
  /// `memory` and `blocking` outlive it.
  Blas(cudaStream_t stream, Memory& memory, BlockingKernel& blocking);
  ~Blas();
  Blas(const Blas&) = delete;

  void multiply(const GemmArgs& product);
  /// All of one dtype, none empty, in one call of cublasGemmGroupedBatchedEx; its kernels need every matrix
  /// and row aligned to 16 bytes. `pointers` is room for 3·products in device memory.
  void multiply_grouped(std::span<const GemmArgs> products, void** pointers);
  /// "13.1.0".
  std::string version() const;

 private:
  struct HandleDeleter {
    void operator()(cublasHandle_t handle) const;
  };
  cudaStream_t stream_;
  BlockingKernel& blocking_;
  Buffer workspace_;
  std::unique_ptr<cublasContext, HandleDeleter> handle_;
};

}  // namespace moebench::cuda
