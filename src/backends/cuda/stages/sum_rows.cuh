// SPDX-License-Identifier: Apache-2.0
// A token's K rows added up in the order of k in fp32: what combine does with scores, and pack's backward
// without.
#pragma once

#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {

/// y[t] = Σ_j score[t, j] · rows[row_of[t, j]], one warp per token; score 1 unless kScored. The loads of
/// several j, and of two parts of each row, are in flight together.
template <class T, int N, bool kScored>
__global__ void __launch_bounds__(kThreads)
    sum_rows_kernel(const T* __restrict__ rows, const std::int32_t* __restrict__ row_of,
                    const float* __restrict__ score, std::int64_t tokens, std::int64_t cols, int k,
                    T* __restrict__ y) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  row_of += t * k, y += t * cols;
  if constexpr (kScored) score += t * k;
  constexpr int kParts = 2;
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kParts) {
    float sum[kParts][N] = {};
#pragma unroll 4
    for (int j = 0; j < k; ++j) {
      if (row_of[j] < 0) continue;  // dropped
      const T* const from = rows + row_of[j] * cols + c;
      const float weight = kScored ? score[j] : 1.0f;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        if (c + 32 * N * part >= cols) continue;
        float value[N];
        unpack<T, N>(load<T, N>(from + 32 * N * part), value);
#pragma unroll
        for (int i = 0; i < N; ++i) sum[part][i] += weight * value[i];
      }
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      if (c + 32 * N * part < cols) store<T, N>(y + c + 32 * N * part, sum[part]);
  }
}

/// Null score: pack's backward.
template <bool kScored>
void sum_rows(cudaStream_t stream, const TensorView& rows, const std::int32_t* row_of, const float* score,
              const TensorView& y, std::int64_t top_k) {
  if (y.size() == 0) return;
  with_access(y.dtype, y.cols, {rows.data, y.data}, [&]<class T, int N>() {
    launch_with_pdl("sum_rows_kernel", stream, {grid(blocks_for(y.rows, kWarps)), kThreads},
                    sum_rows_kernel<T, N, kScored>, rows.as<const T>(), row_of, score, y.rows, y.cols,
                    static_cast<int>(top_k), y.as<T>());
  });
}

}  // namespace moebench::cuda
