// SPDX-License-Identifier: Apache-2.0
// Idea: what `expert_of_row == expert` costs a naive layer: one pass over all rows per expert.
// Moves: 4·n bytes read, 4·n written.
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    naive_mask_kernel(const std::int32_t* __restrict__ expert_of_row, std::int64_t rows, int expert,
                      std::int32_t* __restrict__ keys) {
  const std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (r < rows) keys[r] = expert_of_row[r] == expert ? 0 : 1;
}

}  // namespace

void mark_expert(cudaStream_t stream, std::span<const std::int32_t> expert_of_row, std::int64_t expert,
                 std::int32_t* keys) {
  const auto rows = static_cast<std::int64_t>(expert_of_row.size());
  if (rows == 0) return;
  naive_mask_kernel<<<grid(blocks_for(rows, kThreads)), kThreads, 0, stream>>>(
      expert_of_row.data(), rows, static_cast<int>(expert), keys);
  check_launch("naive_mask_kernel");
}

}  // namespace moebench::cuda
