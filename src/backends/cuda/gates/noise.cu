// SPDX-License-Identifier: Apache-2.0
// Idea: a thread for each logit draws its number by counter and adds it, or puts it there.
// Layout: logits [T, E] fp32.
// Moves: 8·T·E bytes, 4·T·E where the noise replaces the logits; two hashes and a transform in double each.
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"
#include "base/normal.h"

namespace moebench::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    perturb_kernel(GateNoise noise, std::int64_t count, float* logits) {
  grid_dependency_wait();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const float drawn = noise.deviation * normal_at(noise.key, static_cast<std::uint64_t>(noise.first + i));
  logits[i] = noise.replaces ? drawn : logits[i] + drawn;
}

}  // namespace

void perturb(cudaStream_t stream, const GateForward& args) {
  const auto count = static_cast<std::int64_t>(args.logits.size());
  if (count == 0) return;
  launch_with_pdl("perturb_kernel", stream, {grid(blocks_for(count, kThreads)), kThreads}, perturb_kernel,
                  args.rule.noise, count, args.logits.data());
}

}  // namespace moebench::cuda
