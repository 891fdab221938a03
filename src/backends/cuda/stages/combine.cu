// SPDX-License-Identifier: Apache-2.0
// Idea: forward, one warp per token reads its K rows and writes their weighted sum (sum_rows.cuh).
// Backward, one warp per slot writes score · dy to the slot's row and sums dy · row on the way, so that
// dscore costs no pass of its own. If the experts give dscore, one warp per token writes its K rows.
// Layout: rows, drows [S, H]; y, dy [T, H]; score, dscore [T, K] fp32; row_of [S] int32.
// Moves: forward reads S·H, writes T·H elements: T 4096, K 2, H 1024, bf16: 25 MB, 6 µs at 4 TB/s.
// Backward reads T·H + S·H (the K reads of a token's dy meet in the cache), writes S·H: 42 MB, 10 µs; without dscore
// T·H and S·H: 25 MB.
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"
#include "backends/cuda/stages/sum_rows.cuh"

namespace moebench::cuda {
namespace {

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    combine_backward_kernel(const T* __restrict__ dy, const T* __restrict__ rows,
                            const std::int32_t* __restrict__ row_of, const float* __restrict__ score,
                            std::int64_t slots, std::int64_t cols, int k, T* __restrict__ drows,
                            float* __restrict__ dscore) {
  grid_dependency_wait();
  const std::int64_t slot = warp_of_grid();
  if (slot >= slots) return;
  if (row_of[slot] < 0) {  // dropped
    if (lane_of_warp() == 0) dscore[slot] = 0;
    return;
  }
  const std::int64_t row = row_of[slot] * cols;
  dy += slot / k * cols, rows += row, drows += row;
  const float weight = score[slot];
  float dot = 0;
  constexpr int kAtOnce = 2;
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kAtOnce) {
    Raw<T, N> gradient[kAtOnce], output[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (c + 32 * N * i >= cols) break;
      gradient[i] = load<T, N>(dy + c + 32 * N * i);
      output[i] = load<T, N>(rows + c + 32 * N * i);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (c + 32 * N * i >= cols) break;
      float g[N], o[N];
      unpack<T, N>(gradient[i], g);
      unpack<T, N>(output[i], o);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        dot += g[n] * o[n];
        g[n] *= weight;
      }
      store<T, N>(drows + c + 32 * N * i, g);
    }
  }
  dot = warp_sum(dot);
  if (lane_of_warp() == 0) dscore[slot] = dot;
}

/// The same without dscore: one warp per token reads its dy once.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    scale_dy_kernel(const T* __restrict__ dy, const std::int32_t* __restrict__ row_of,
                    const float* __restrict__ score, std::int64_t tokens, std::int64_t cols, int k,
                    T* __restrict__ drows) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  dy += t * cols, row_of += t * k, score += t * k;
  constexpr int kAtOnce = 8;  // whole rows at a time, up to 2048 columns of 16 bits
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kAtOnce) {
    Raw<T, N> gradient[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (c + 32 * N * i < cols) gradient[i] = load<T, N>(dy + c + 32 * N * i);
#pragma unroll 2
    for (int j = 0; j < k; ++j) {
      if (row_of[j] < 0) continue;  // dropped
      const float weight = score[j];
      T* const there = drows + row_of[j] * cols + c;
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (c + 32 * N * i >= cols) break;
        float g[N];
        unpack<T, N>(gradient[i], g);
#pragma unroll
        for (int n = 0; n < N; ++n) g[n] *= weight;
        store<T, N>(there + 32 * N * i, g);
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    reduce_dscore_kernel(const float* __restrict__ partials, int parts,
                         const std::int32_t* __restrict__ row_of, const float* __restrict__ score,
                         std::int64_t slots, float* __restrict__ dscore) {
  grid_dependency_wait();
  const std::int64_t slot = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (slot >= slots) return;
  if (row_of[slot] < 0) {
    dscore[slot] = 0;
    return;
  }
  partials += std::int64_t{row_of[slot]} * parts;
  float dot = 0;
  for (int part = 0; part < parts; ++part) dot += partials[part];
  dscore[slot] = score[slot] > 0 ? dot / score[slot] : 0;
}

}  // namespace

void reduce_dscore(cudaStream_t stream, const float* partials, std::int64_t parts,
                   const ScoreGradient& scores) {
  const std::int64_t slots = std::ssize(scores.score);
  if (slots == 0) return;
  launch_with_pdl("reduce_dscore_kernel", stream, {grid(blocks_for(slots, kThreads)), kThreads},
                  reduce_dscore_kernel, partials, static_cast<int>(parts), scores.row_of.data(),
                  scores.score.data(), slots, scores.dscore.data());
}

void combine(cudaStream_t stream, const CombineForward& args) {
  sum_rows<true>(stream, args.rows, args.row_of.data(), args.score.data(), args.y, args.top_k);
}

void combine(cudaStream_t stream, const CombineBackward& args) {
  const std::int64_t slots = std::ssize(args.row_of), tokens = args.dy.rows;  // perhaps more slots than rows
  if (args.drows.size() == 0) return;
  if (args.dscore.empty())
    return with_access(args.dy.dtype, args.dy.cols, {args.dy.data, args.drows.data}, [&]<class T, int N>() {
      launch_with_pdl("scale_dy_kernel", stream, {grid(blocks_for(tokens, kWarps)), kThreads},
                      scale_dy_kernel<T, N>, args.dy.as<const T>(), args.row_of.data(), args.score.data(),
                      tokens, args.dy.cols, static_cast<int>(args.top_k), args.drows.as<T>());
    });
  with_access(
      args.dy.dtype, args.dy.cols, {args.dy.data, args.rows.data, args.drows.data}, [&]<class T, int N>() {
        launch_with_pdl("combine_backward_kernel", stream, {grid(blocks_for(slots, kWarps)), kThreads},
                        combine_backward_kernel<T, N>, args.dy.as<const T>(), args.rows.as<const T>(),
                        args.row_of.data(), args.score.data(), slots, args.dy.cols,
                        static_cast<int>(args.top_k), args.drows.as<T>(), args.dscore.data());
      });
}

}  // namespace moebench::cuda
