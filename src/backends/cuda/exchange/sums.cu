// SPDX-License-Identifier: Apache-2.0
// Idea: reduce adds up the rows of each received token in fp32 and stores one row, rounded once, at the token's rank;
// the last block publishes the event and waits for the other ranks. sum adds this rank's own rows and the other ranks'
// partial sums in fp32, in the order of ranks, and rounds once more. One warp per token.
// Layout: rows [n, H]; partial [P, M, H] at the token's rank; y [T, H].
// If rows return by slot, finish publishes and waits alone, and sum adds up the slots of each token.
// Moves: reduce reads the rows of received tokens and stores one row per token and rank over the link; sum reads own
// rows and partial sums and writes T·H.
#include <algorithm>

#include "backends/cuda/exchange/launch.cuh"
#include "backends/cuda/exchange/protocol.cuh"
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

constexpr int kParts = 2;  ///< accesses of a row in flight per lane

/// sum += Σ_j weight_j · rows[row_of[j]] for columns c and c + 32·N of this lane.
template <class T, int N, bool kWeighted>
__device__ void add_rows(const T* __restrict__ rows, const std::int32_t* row_of, const float* score, int k,
                         std::int64_t c, std::int64_t cols, std::int64_t max_rows, float (&sum)[kParts][N]) {
#pragma unroll 4
  for (int j = 0; j < k; ++j) {
    const std::int64_t row = row_of[j];
    if (row < 0 || row >= max_rows) continue;
    const float weight = kWeighted ? score[j] : 1.0f;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (c + 32 * N * part >= cols) continue;
      float value[N];
      unpack<T, N>(load<T, N>(rows + row * cols + c + 32 * N * part), value);
#pragma unroll
      for (int i = 0; i < N; ++i) sum[part][i] += weight * value[i];
    }
  }
}

template <class T, int N>
__device__ void store_parts(T* to, std::int64_t c, std::int64_t cols, const float (&sum)[kParts][N]) {
#pragma unroll
  for (int part = 0; part < kParts; ++part)
    if (c + 32 * N * part < cols) store<T, N>(to + c + 32 * N * part, sum[part]);
}

template <class T, int N, bool kWeighted, int kBlockWarps>
__global__ void __launch_bounds__(32 * kBlockWarps)
    peer_reduce_kernel(const __grid_constant__ DevicePeers d, PeerEvent event, const T* __restrict__ rows,
                       std::int64_t cols, std::int64_t max_rows) {
  grid_dependency_wait();
  const int k = static_cast<int>(d.g.top_k);
  const std::int64_t others = (d.g.size - 1) * d.g.max_tokens;
  for (std::int64_t at = warp_of_grid<kBlockWarps>(); at < others;
       at += std::int64_t{gridDim.x} * kBlockWarps) {
    const int p = static_cast<int>((d.g.rank + 1 + at / d.g.max_tokens) % d.g.size);
    const std::int64_t t = at % d.g.max_tokens;
    if (t >= d.g.tokens[p]) continue;
    const std::int64_t slot = (first_token(d, p) + t) * k;
    const std::int32_t* const row_of = peer_at<const std::int32_t>(d, d.g.rank, d.g.at.row_of) + slot;
    const float* const score = peer_at<const float>(d, d.g.rank, d.g.at.score) + slot;
    bool here = false;
    for (int j = 0; j < k; ++j) here |= row_of[j] >= 0;
    if (!here) continue;
    T* const to = peer_at<T>(d, p, d.g.at.partial) + (first_token(d, d.g.rank) + t) * cols;
    for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kParts) {
      float sum[kParts][N] = {};
      add_rows<T, N, kWeighted>(rows, row_of, score, k, c, cols, max_rows, sum);
      store_parts<T, N>(to, c, cols, sum);
    }
  }
  meet(d, event);
}

template <class T, int N, bool kWeighted>
__global__ void __launch_bounds__(kThreads)
    peer_sum_kernel(const __grid_constant__ DevicePeers d, const T* __restrict__ rows,
                    const std::int32_t* __restrict__ expert_of, std::int64_t tokens, std::int64_t cols,
                    std::int64_t max_rows, T* __restrict__ y, float* dscore) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int k = static_cast<int>(d.g.top_k), local = static_cast<int>((d.g.experts / d.g.size));
  unsigned ranks = 0;
  for (int j = lane_of_warp(); j < k; j += 32) {
    const int e = expert_of[t * k + j];
    if (e >= 0) ranks |= 1u << (e / local);
    if (dscore)  // 0 of a dropped slot: no rank has stored it
      dscore[t * k + j] = e >= 0 ? peer_at<const float>(d, d.g.rank, d.g.at.dscore)[t * k + j] : 0;
  }
  ranks = __reduce_or_sync(0xFFFFFFFFu, ranks);
  const std::int64_t slot = (first_token(d, d.g.rank) + t) * k;
  const std::int32_t* const row_of = peer_at<const std::int32_t>(d, d.g.rank, d.g.at.row_of) + slot;
  const float* const score = peer_at<const float>(d, d.g.rank, d.g.at.score) + slot;
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kParts) {
    float sum[kParts][N] = {};
    for (unsigned left = ranks; left != 0; left &= left - 1) {
      const int p = __ffs(static_cast<int>(left)) - 1;
      if (p == d.g.rank) {
        add_rows<T, N, kWeighted>(rows, row_of, score, k, c, cols, max_rows, sum);
        continue;
      }
      const T* const from = peer_at<const T>(d, d.g.rank, d.g.at.partial) + (first_token(d, p) + t) * cols;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        if (c + 32 * N * part >= cols) continue;
        float value[N];
        unpack<T, N>(load<T, N>(from + c + 32 * N * part), value);
#pragma unroll
        for (int i = 0; i < N; ++i) sum[part][i] += value[i];
      }
    }
    store_parts<T, N>(y + t * cols, c, cols, sum);
  }
}

/// y = Σ_j score_j · by_slot[t, j] over the slots that were not dropped. One warp per token.
template <class T, int N, bool kWeighted>
__global__ void __launch_bounds__(kThreads)
    peer_sum_slots_kernel(const __grid_constant__ DevicePeers d, const std::int32_t* __restrict__ expert_of,
                          std::int64_t tokens, std::int64_t cols, T* __restrict__ y, float* dscore) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int k = static_cast<int>(d.g.top_k);
  if (dscore)
    for (std::int64_t slot = t * k + lane_of_warp(); slot < (t + 1) * k; slot += 32)
      dscore[slot] = expert_of[slot] >= 0 ? peer_at<const float>(d, d.g.rank, d.g.at.dscore)[slot] : 0;
  const float* const score =
      peer_at<const float>(d, d.g.rank, d.g.at.score) + (first_token(d, d.g.rank) + t) * k;
  const T* const rows = peer_at<const T>(d, d.g.rank, d.g.at.by_slot) + t * k * cols;
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kParts) {
    float sum[kParts][N] = {};
#pragma unroll 4
    for (int j = 0; j < k; ++j) {
      if (expert_of[t * k + j] < 0) continue;
      const float weight = kWeighted ? score[j] : 1.0f;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        if (c + 32 * N * part >= cols) continue;
        float value[N];
        unpack<T, N>(load<T, N>(rows + j * cols + c + 32 * N * part), value);
#pragma unroll
        for (int i = 0; i < N; ++i) sum[part][i] += weight * value[i];
      }
    }
    store_parts<T, N>(y + t * cols, c, cols, sum);
  }
}

/// dscore [P, M, K] of the slots that have rows here, to the ranks of their tokens. One thread per slot.
__global__ void __launch_bounds__(kThreads)
    peer_send_dscore_kernel(const __grid_constant__ DevicePeers d, const float* __restrict__ dscore,
                            std::int64_t slots_of_rank) {
  grid_dependency_wait();
  const std::int64_t at = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= d.g.size * slots_of_rank) return;
  const int p = static_cast<int>(at / slots_of_rank);
  const std::int64_t slot = at % slots_of_rank;
  if (slot >= d.g.tokens[p] * d.g.top_k) return;  // nothing was stored in the list there
  if (peer_at<const std::int32_t>(d, d.g.rank, d.g.at.row_of)[at] >= 0)
    peer_at<float>(d, p, d.g.at.dscore)[slot] = dscore[at];
}

/// One warp: earlier kernels have stored everything that belongs to `event`.
__global__ void __launch_bounds__(32)
    peer_finish_kernel(const __grid_constant__ DevicePeers d, PeerEvent event) {
  grid_dependency_wait();
  const int peer = static_cast<int>(threadIdx.x);
  if (peer >= d.g.size) return;
  const std::uint32_t step = *d.step;
  publish(d, event, peer, step);
  wait_for(d, event, peer, step);
}

template <class T, int N>
void launch_sum(cudaStream_t stream, const DevicePeers& peers, const PeerSum& args) {
  const LaunchSize size{grid(blocks_for(args.y.rows, kWarps)), kThreads};
  if (peers.g.returns_by_slot) {
    const auto kernel =
        args.weighted ? peer_sum_slots_kernel<T, N, true> : peer_sum_slots_kernel<T, N, false>;
    return launch_with_pdl("peer_sum_slots_kernel", stream, size, kernel, peers, args.expert_of.data(),
                           args.y.rows, args.y.cols, args.y.as<T>(), args.dscore.data());
  }
  const auto kernel = args.weighted ? peer_sum_kernel<T, N, true> : peer_sum_kernel<T, N, false>;
  launch_with_pdl("peer_sum_kernel", stream, size, kernel, peers, args.rows.as<const T>(),
                  args.expert_of.data(), args.y.rows, args.y.cols, args.rows.rows, args.y.as<T>(),
                  args.dscore.data());
}

}  // namespace

void load_peer_kernels() {
  cudaFuncAttributes attributes;
  MB_CUDA(cudaFuncGetAttributes(&attributes, peer_sum_kernel<float, 1, true>));
  load_counts_kernel();
  load_push_kernels();
  load_row_kernels();
}

void peer_reduce(const PeerLaunch& launch, const DevicePeers& peers, const PeerReduce& args) {
  const std::int64_t tokens = (peers.g.size - 1) * peers.g.max_tokens;
  with_access(args.rows.dtype, peers.g.hidden, {args.rows.data}, [&]<class T, int N>() {
    with_block_warps(launch, [&]<int kBlockWarps>() {
      const auto kernel = args.weighted ? peer_reduce_kernel<T, N, true, kBlockWarps>
                                        : peer_reduce_kernel<T, N, false, kBlockWarps>;
      launch_peer_kernel("peer_reduce_kernel", launch, kBlockWarps, tokens, 0, kernel, peers, args.event,
                         args.rows.as<const T>(), peers.g.hidden, args.rows.rows);
    });
  });
}

void peer_sum(cudaStream_t stream, const DevicePeers& peers, const PeerSum& args) {
  if (args.y.rows == 0) return;
  with_access(args.y.dtype, args.y.cols, {args.rows.data, args.y.data},
              [&]<class T, int N>() { launch_sum<T, N>(stream, peers, args); });
}

void peer_send_dscore(cudaStream_t stream, const DevicePeers& peers, const float* dscore) {
  const std::int64_t slots = peers.g.max_tokens * peers.g.top_k;
  if (slots == 0) return;
  launch_with_pdl("peer_send_dscore_kernel", stream,
                  {grid(blocks_for(peers.g.size * slots, kThreads)), kThreads}, peer_send_dscore_kernel,
                  peers, dscore, slots);
}

void peer_finish(cudaStream_t stream, const DevicePeers& peers, PeerEvent event) {
  launch_with_pdl("peer_finish_kernel", stream, {1, 32}, peer_finish_kernel, peers, event);
}

}  // namespace moebench::cuda
