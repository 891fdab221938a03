// SPDX-License-Identifier: Apache-2.0
// Whether each rank has a GPU to itself. A GPU is known by its UUID: its number is only its place in what one process
// sees, and CUDA_VISIBLE_DEVICES may show each process another GPU as number 0.
#pragma once

#include <span>
#include <string>

namespace moebench {

/// Why ranks on these GPUs cannot have one each: "ranks 0 and 2 share GPU-…"; empty if they can. `uuids` are of the GPU
/// that each rank computes on, in the order of ranks; an empty one is not known and shared with none.
std::string why_gpus_are_shared(std::span<const std::string> uuids);

}  // namespace moebench
