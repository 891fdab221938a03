// SPDX-License-Identifier: Apache-2.0
// Idea: one block stores this rank's counts at every rank, publishes them, waits for the counts of all ranks, and sums
// them: where this rank's rows begin at each expert's rank, and where each local expert begins here. The host is not
// asked.
// Layout: counts [P, E] int32 in every rank's block; first_row [E]; local_offsets [e + 1]. Shared: E + 1 sums.
// Moves: 4·P·E bytes over the link; a flag there and back, 1.3 µs on NVLink.
#pragma once

#include "backends/cuda/exchange/protocol.cuh"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {

/// PeerCounts as kernels take it; `counts` is null if another kernel exchanges them.
struct DeviceCounts {
  const std::int32_t* counts;
  std::int32_t *first_row, *local_offsets, *own_end;
  std::int64_t max_rows;
};
inline DeviceCounts device_counts(const PeerCounts& c) {
  return {c.counts.data(), c.first_row.data(), c.local_offsets.data(), c.own_end.data(), c.max_rows};
}

/// Shared memory of exchange_counts().
inline unsigned bytes_of_starts(const PeerGroup& g) {
  return static_cast<unsigned>((g.experts + 1) * static_cast<std::int64_t>(sizeof(int)));
}

/// The sum over the block's threads below this one, by all threads; `total` is the sum over all.
template <int kBlockThreads>
__device__ inline int exclusive_sum(int value, int& total) {
  __shared__ int of_warps[kBlockThreads / 32];
  const int lane = lane_of_warp(), warp = static_cast<int>(threadIdx.x) / 32;
  int sum = value;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(0xFFFFFFFFu, sum, step);
    if (lane >= step) sum += before;
  }
  if (lane == 31) of_warps[warp] = sum;
  __syncthreads();
  int before = 0;
  total = 0;
  for (int w = 0; w < kBlockThreads / 32; ++w) {
    if (w == warp) before = total;
    total += of_warps[w];
  }
  __syncthreads();  // of_warps is written again by the next call
  return before + sum - value;
}

/// Rows of expert e, which rank `owner` has, over all ranks, and over those whose rows lie before this one's there:
/// first the owner's, then the next rank's, and so on.
struct ExpertRows {
  int all = 0, before = 0, own = 0;
  __device__ ExpertRows(const DevicePeers& d, int e, int owner) {
    for (int at = 0; at < d.g.size; ++at) {
      const int p = (owner + at) % d.g.size;
      const int rows = __ldcv(peer_at<std::int32_t>(d, d.g.rank, d.g.at.counts) + p * d.g.experts + e);
      if (p == d.g.rank) before = all, own = rows;
      all += rows;
    }
  }
};

/// Begins a step. By all threads of one block; `starts` [E + 1] in shared memory: rows of all experts below, whatever
/// their ranks.
template <int kBlockThreads>
__device__ inline void exchange_counts(const DevicePeers& d, const DeviceCounts& c, int* starts) {
  const int experts = static_cast<int>(d.g.experts), thread = static_cast<int>(threadIdx.x);
  const std::uint32_t step = *d.step + 1;
  for (int e = thread; e < experts; e += kBlockThreads) {
    const std::int32_t rows = c.counts[e];
    for (int p = 0; p < d.g.size; ++p)
      peer_at<std::int32_t>(d, p, d.g.at.counts)[d.g.rank * d.g.experts + e] = rows;
  }
  __syncthreads();
  if (thread == 0) *d.step = step;
  if (thread < d.g.size) {
    publish(d, PeerEvent::counts, thread, step);
    wait_for(d, PeerEvent::counts, thread, step);
  }
  __syncthreads();
  int carry = 0;
  const int local = experts / d.g.size, mine = d.g.rank * local;
  for (int first = 0; first < experts; first += kBlockThreads) {
    const int e = first + thread;
    int total = 0;
    int all = 0;
    if (e < experts) {
      const ExpertRows rows(d, e, e / local);
      all = rows.all, c.first_row[e] = rows.before;
      if (e / local == d.g.rank) c.own_end[e - mine] = rows.own;
    }
    const int below = exclusive_sum<kBlockThreads>(all, total);
    if (e < experts) starts[e] = carry + below;
    carry += total;
  }
  if (thread == 0) starts[experts] = carry;
  __syncthreads();
  const auto clipped = [&](std::int64_t row) { return static_cast<std::int32_t>(min(row, c.max_rows)); };
  for (int e = thread; e < experts; e += kBlockThreads)
    c.first_row[e] += starts[e] - starts[e / local * local];
  for (int i = thread; i < local; i += kBlockThreads)
    c.own_end[i] = clipped(std::int64_t{c.own_end[i] + starts[mine + i] - starts[mine]});
  for (int i = thread; i <= local; i += kBlockThreads)
    c.local_offsets[i] = clipped(std::int64_t{starts[mine + i] - starts[mine]});
  const int received = starts[mine + local] - starts[mine];
  if (thread == 0 && received > c.max_rows) {
    d.status->rows = received;
    __threadfence_system();
    d.status->stop = kOverflow;
  }
}

}  // namespace moebench::cuda
