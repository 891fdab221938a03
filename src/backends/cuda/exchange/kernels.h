// SPDX-License-Identifier: Apache-2.0
// The kernels of the direct exchange as functions of the host: each queues work on `stream` and returns.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backends/peer_kernels.h"

namespace moebench::cuda {

/// Why a wait ended early; 0 while none has.
enum : std::uint32_t { kRunning = 0, kTimedOut = 1, kInterrupted = 2, kOverflow = 3 };

/// In mapped host memory: written by the kernels and, on an interrupt, by the host; read by both. Once `stop` is not 0,
/// every later wait ends at once.
struct PeerStatus {
  std::uint32_t stop, event, peer;
  std::int32_t rows;  ///< of an overflow
};

/// What every kernel of an exchange is given.
struct DevicePeers {
  PeerGroup g;
  std::uint32_t* step;     ///< in device memory, so that a replayed graph does not repeat a number
  std::uint32_t* starts;   ///< barriers before iterations, also in device memory
  std::uint32_t* counted;  ///< not 0 once the first block of the running push knows the counts of all ranks
  std::uint32_t* done;     ///< [events]: blocks of the running kernel that have stored all of theirs
  PeerStatus* status;
  std::uint64_t timeout_ns;
};

/// How a kernel that stores to peers is queued.
struct PeerLaunch {
  cudaStream_t stream;
  bool large_blocks;  ///< blocks that fill a multiprocessor, so that it runs on as many as it has blocks
  int max_blocks;
  cudaEvent_t started;  ///< recorded when all blocks have begun; null: the launch is one with PDL
};

/// Loads all kernels: none is loaded while another waits for a peer.
void load_peer_kernels();
void load_counts_kernel();  ///< by translation unit
void load_push_kernels();
void load_row_kernels();
void peer_start(cudaStream_t stream, const DevicePeers& peers);
void peer_counts(cudaStream_t stream, const DevicePeers& peers, const PeerCounts& args);
void peer_push(const PeerLaunch& launch, const DevicePeers& peers, const PeerPush& args);
void peer_spread(cudaStream_t stream, const DevicePeers& peers, const PeerSpread& args);
void peer_reduce(const PeerLaunch& launch, const DevicePeers& peers, const PeerReduce& args);
void peer_sum(cudaStream_t stream, const DevicePeers& peers, const PeerSum& args);
void peer_scale(cudaStream_t stream, const DevicePeers& peers, const PeerScale& args);
void peer_send_dscore(cudaStream_t stream, const DevicePeers& peers, const float* dscore);
void peer_finish(cudaStream_t stream, const DevicePeers& peers, PeerEvent event);

}  // namespace moebench::cuda
