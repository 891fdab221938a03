// SPDX-License-Identifier: Apache-2.0
// A barrier of the devices before an iteration, so that ranks whose hosts queue it at different times start together.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "comm/comm.h"
#include "comm/peer_memory.h"

namespace moebench {

class StartBarrier {
 public:
  /// Collective over `ranks`; does nothing where the ranks cannot share memory. Both outlive it.
  StartBarrier(Comm& ranks, Backend& backend);

  /// Whether it does anything; the same on every rank.
  bool works() const { return kernels_ != nullptr; }
  /// Queues the barrier: later work starts when every rank has come to this call. Throws what ended an earlier one.
  void queue();

 private:
  std::unique_ptr<PeerMemory> memory_;
  std::unique_ptr<PeerKernels> kernels_;
};

}  // namespace moebench
