// SPDX-License-Identifier: Apache-2.0
#include "bench/start_barrier.h"

#include <algorithm>

namespace moebench {

StartBarrier::StartBarrier(Comm& ranks, Backend& backend) {
  if (ranks.size() == 1 || ranks.size() > kMaxPeers) return;
  const PeerLayout layout = peer_layout(ranks.size(), 0, 0, 1, 0);
  PeerMemoryResult peers = make_peer_memory(ranks, backend.memory(), layout.bytes);
  if (!peers.memory) return;
  PeerGroup group{.rank = ranks.rank(), .size = ranks.size(), .at = layout, .timeout_s = ranks.timeout_s()};
  std::copy(peers.memory->blocks().begin(), peers.memory->blocks().end(), group.block);
  kernels_ = backend.make_peer_kernels(group);
  memory_ = std::move(peers.memory);
}

void StartBarrier::queue() {
  if (!kernels_) return;
  kernels_->check();
  kernels_->start_together();
}

}  // namespace moebench
