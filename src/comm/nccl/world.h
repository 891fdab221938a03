// SPDX-License-Identifier: Apache-2.0
// A world whose rows travel over NCCL. Names no NCCL or CUDA type.
#pragma once

#include <memory>
#include <string>

#include "comm/world.h"

namespace moebench {

/// Why NCCL cannot be used in this process, which has `local_size` ranks on its host; empty if it can.
std::string why_no_nccl(int local_size);

/// UUID of the GPU that this host's rank of that number computes on; empty if it is not known.
std::string uuid_of_rank(int local_rank);

/// Ranks, numbers and texts are those of `control`, which also brings the ranks' NCCL communicator together;
/// it is made with the first Comm, after the backend has chosen its GPU.
std::unique_ptr<World> make_nccl_world(std::unique_ptr<World> control, double timeout_s);

}  // namespace moebench
