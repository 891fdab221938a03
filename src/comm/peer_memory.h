// SPDX-License-Identifier: Apache-2.0
// Memory that all ranks of one host can read and write.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "comm/comm.h"

namespace moebench {

/// One block of the same size on each rank of a group, mapped into all of them.
class PeerMemory {
 public:
  virtual ~PeerMemory() = default;
  /// Where each rank's block begins, as this process addresses it; [rank] is this rank's own. Zero when made.
  virtual const std::vector<std::byte*>& blocks() const = 0;
};

/// What came of asking for peer memory: the memory, or the reason why the ranks cannot have it, the same on each.
struct PeerMemoryResult {
  std::unique_ptr<PeerMemory> memory;
  std::string why_not;
};

/// Collective over `group`. Blocks lie in `memory` if it is a GPU's (CUDA IPC), else in POSIX shared memory. Ranks on
/// different hosts, and ranks that share a GPU, get a reason. A written pattern is read back by every peer before it
/// is believed. `memory` outlives the result; the group's ranks end the use of the result together (a barrier).
PeerMemoryResult make_peer_memory(Comm& group, Memory& memory, std::size_t bytes);

}  // namespace moebench
