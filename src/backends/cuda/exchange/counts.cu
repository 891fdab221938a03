// SPDX-License-Identifier: Apache-2.0
// Kernels of one block: the counts of all ranks (counts.cuh), and the barrier before an iteration.
#include "backends/cuda/exchange/counts.cuh"
#include "backends/cuda/runtime/launch.cuh"

namespace moebench::cuda {
namespace {

constexpr int kCountThreads = 1024;

__global__ void __launch_bounds__(kCountThreads)
    peer_counts_kernel(const __grid_constant__ DevicePeers d, DeviceCounts counts) {
  grid_dependency_wait();
  extern __shared__ int starts[];
  exchange_counts<kCountThreads>(d, counts, starts);
}

/// One warp: the flags of all ranks there and back.
__global__ void __launch_bounds__(32) peer_start_kernel(const __grid_constant__ DevicePeers d) {
  grid_dependency_wait();
  const int peer = static_cast<int>(threadIdx.x);
  const std::uint32_t barrier = *d.starts + 1;
  __syncwarp();
  if (peer == 0) *d.starts = barrier;
  if (peer >= d.g.size) return;
  publish(d, PeerEvent::start, peer, barrier);
  wait_for(d, PeerEvent::start, peer, barrier);
}

}  // namespace

void load_counts_kernel() {
  cudaFuncAttributes attributes;
  MB_CUDA(cudaFuncGetAttributes(&attributes, peer_start_kernel));
  MB_CUDA(cudaFuncGetAttributes(&attributes, peer_counts_kernel));
}

void peer_start(cudaStream_t stream, const DevicePeers& peers) {
  launch_with_pdl("peer_start_kernel", stream, {1, 32}, peer_start_kernel, peers);
}

void peer_counts(cudaStream_t stream, const DevicePeers& peers, const PeerCounts& args) {
  launch_with_pdl("peer_counts_kernel", stream, {1, kCountThreads, bytes_of_starts(peers.g)},
                  peer_counts_kernel, peers, device_counts(args));
}

}  // namespace moebench::cuda
