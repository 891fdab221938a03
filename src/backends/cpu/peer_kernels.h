// SPDX-License-Identifier: Apache-2.0
// The direct exchange of CPU ranks of one host, over POSIX shared memory.
#pragma once

#include <memory>

#include "backends/peer_kernels.h"
#include "base/thread_pool.h"

namespace moebench::cpu {

/// `pool` outlives it.
std::unique_ptr<PeerKernels> make_peer_kernels(const PeerGroup& group, ThreadPool& pool);

}  // namespace moebench::cpu
