// SPDX-License-Identifier: Apache-2.0
// Flags between GPUs: how one GPU's kernel says that its rows are stored, and how another waits for it.
// docs/exchange.md has the protocol. Source of the memory model: PTX ISA 9.0, sections 8.7 to 8.10.
#pragma once

#include <cstdint>

#include "backends/cuda/exchange/kernels.h"

namespace moebench::cuda {

template <class T>
__device__ inline T* peer_at(const DevicePeers& d, int rank, std::size_t offset) {
  return reinterpret_cast<T*>(d.g.block[rank] + offset);
}
/// The first of [P, M] tokens that belongs to rank `from`.
__device__ inline std::int64_t first_token(const DevicePeers& d, int from) { return from * d.g.max_tokens; }

/// Which ranks' tokens a kernel goes through: `count` from the `first`-th on, counted from this rank.
struct RankRange {
  int first, count;
};
inline RankRange ranks_of(PeerTokens of, int size) {
  return {of == PeerTokens::received ? 1 : 0, of == PeerTokens::own   ? 1
                                              : of == PeerTokens::all ? size
                                                                      : size - 1};
}
/// Token t of rank p.
struct PeerToken {
  int p;
  std::int64_t t;
};
__device__ inline PeerToken token_at(const DevicePeers& d, const RankRange& ranks, std::int64_t index) {
  const auto nth = static_cast<int>(index / d.g.max_tokens);
  return {(d.g.rank + ranks.first + nth) % d.g.size, index % d.g.max_tokens};
}

/// This thread's earlier stores, and those of other threads that it has met at a barrier, are seen by a GPU that sees
/// the flag.
__device__ inline void publish(const DevicePeers& d, PeerEvent event, int peer, std::uint32_t step) {
  std::uint32_t* flag =
      peer_at<std::uint32_t>(d, peer, d.g.at.flags) + static_cast<int>(event) * d.g.size + d.g.rank;
  __threadfence_system();
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(step) : "memory");
}

/// Returns when `peer` has published `step`, or when the exchange has ended.
__device__ inline void wait_for(const DevicePeers& d, PeerEvent event, int peer, std::uint32_t step) {
  const std::uint32_t* flag =
      peer_at<std::uint32_t>(d, d.g.rank, d.g.at.flags) + static_cast<int>(event) * d.g.size + peer;
  std::uint64_t begin = 0;
  for (std::uint32_t look = 1;; ++look) {
    std::uint32_t seen;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(seen) : "l"(flag) : "memory");
    if (static_cast<std::int32_t>(seen - step) >= 0) return;
    if (look % 64 != 0) continue;
    if (*static_cast<volatile std::uint32_t*>(&d.status->stop) != kRunning) return;
    std::uint64_t now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    if (begin == 0) begin = now;
    if (now - begin <= d.timeout_ns) continue;
    d.status->event = static_cast<std::uint32_t>(event);
    d.status->peer = static_cast<std::uint32_t>(peer);
    __threadfence_system();
    *static_cast<volatile std::uint32_t*>(&d.status->stop) = kTimedOut;
    return;
  }
}

/// By all threads of all blocks, after their stores: the last block to come publishes `event` at every rank and waits
/// until every rank has.
__device__ inline void meet(const DevicePeers& d, PeerEvent event) {
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence_system();
    is_last = atomicAdd(&d.done[static_cast<int>(event)], 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!is_last) return;
  if (threadIdx.x == 0) d.done[static_cast<int>(event)] = 0, *d.counted = 0;
  const int peer = static_cast<int>(threadIdx.x);
  if (peer >= d.g.size) return;
  const std::uint32_t step = *d.step;
  publish(d, event, peer, step);
  wait_for(d, event, peer, step);
}

}  // namespace moebench::cuda
