// SPDX-License-Identifier: Apache-2.0
// Launches of kernels that store to peers: in turn with other kernels, or beside them on a few multiprocessors.
#pragma once

#include <algorithm>

#include "backends/cuda/exchange/kernels.h"
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {

inline constexpr int kLargeBlockWarps = 32;

/// work.operator()<warps of a block>().
template <class Work>
void with_block_warps(const PeerLaunch& launch, Work work) {
  if (launch.large_blocks) return work.template operator()<kLargeBlockWarps>();
  work.template operator()<kWarps>();
}

/// Launches a kernel that gives `items` to its warps in turn, and begins with grid_dependency_wait(). `shared`: bytes of
/// dynamic shared memory of a block.
template <class... Parameters>
void launch_peer_kernel(const char* name, const PeerLaunch& launch, int block_warps, std::int64_t items,
                        unsigned shared, void (*kernel)(Parameters...),
                        std::type_identity_t<Parameters>... arguments) {
  const auto blocks = std::clamp<std::int64_t>(blocks_for(items, block_warps), 1, launch.max_blocks);
  const LaunchSize size{grid(blocks), 32 * static_cast<unsigned>(block_warps), shared};
  if (!launch.started) return launch_with_pdl(name, launch.stream, size, kernel, arguments...);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeLaunchCompletionEvent;
  attribute.val.launchCompletionEvent = {.event = launch.started, .flags = 0};
  const cudaLaunchConfig_t config{.gridDim = {size.blocks},
                                  .blockDim = {size.threads},
                                  .dynamicSmemBytes = size.shared,
                                  .stream = launch.stream,
                                  .attrs = &attribute,
                                  .numAttrs = 1};
  cudaLaunchKernelEx(&config, kernel, arguments...);
  check_launch(name);
}

}  // namespace moebench::cuda
