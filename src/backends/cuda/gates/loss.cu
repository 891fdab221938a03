// SPDX-License-Identifier: Apache-2.0
// Idea: the gradients of a gate's losses are added to those of its logits. (1) One block counts a group's choices, in shared
// memory. (2) One warp per token: its largest logit, the sums of its weights and exponentials, the sum of scores times counts,
// and then each expert's share.
// Layout: logits [T, E] fp32, dlogits [T, E] in the layer's format, counts [groups, E] int32, chosen [T, K] int32.
// Moves: chosen once (4·T·K), logits once from memory and twice from cache, dlogits read and written.
#include "backends/cuda/gates/score.cuh"
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/kernels.h"

namespace moebench::cuda {
namespace {

constexpr int kCountThreads = 1024;

__global__ void __launch_bounds__(kCountThreads)
    count_choices_kernel(const std::int32_t* __restrict__ chosen, std::int64_t of_group, int experts,
                         std::int32_t* counts) {
  grid_dependency_wait();
  extern __shared__ int sums[];  // [E]
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kCountThreads) sums[e] = 0;
  __syncthreads();
  const std::int64_t first = blockIdx.x * of_group;
  for (std::int64_t s = first + threadIdx.x; s < first + of_group; s += kCountThreads)
    atomicAdd(&sums[chosen[s]], 1);
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kCountThreads)
    counts[static_cast<std::int64_t>(blockIdx.x) * experts + e] = sums[e];
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    loss_gradient_kernel(GateRule rule, LossFactors factors, const float* __restrict__ logits,
                         const std::int32_t* __restrict__ counts, std::int64_t tokens, int experts,
                         T* dlogits) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int lane = lane_of_warp();
  logits += t * experts, dlogits += t * experts;
  if (factors.aux > 0) counts += t / factors.group * experts;
  float most = -INFINITY;
  for (int e = lane; e < experts; e += 32) most = fmaxf(most, logits[e]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFu, most, step));
  float exponentials = 0, weights = 0, mean = 0;
  for (int e = lane; e < experts; e += 32) {
    exponentials += expf(logits[e] - most);
    const float weight = weight_of<false>(rule, logits[e], most);
    weights += weight;
    if (factors.aux > 0) mean += weight * static_cast<float>(counts[e]);
  }
  exponentials = warp_sum(exponentials), weights = warp_sum(weights), mean = warp_sum(mean) / weights;
  const float of_z = factors.z * (most + logf(exponentials)) / exponentials;
  for (int e = lane; e < experts; e += 32) {
    float sum = to_float(dlogits[e]) + of_z * expf(logits[e] - most);
    if (factors.aux > 0) {
      float slope = weight_of<false>(rule, logits[e], most) / weights;
      if (!is_softmax(rule)) slope *= relative_slope(rule, logits[e]);
      sum += factors.aux * slope * (static_cast<float>(counts[e]) - mean);
    }
    dlogits[e] = rounded<T>(sum);
  }
}

}  // namespace

void add_loss_gradients(cudaStream_t stream, const GateBackward& args, const TensorView& dlogits) {
  if (dlogits.size() == 0) return;
  const auto experts = static_cast<int>(dlogits.cols);
  if (args.losses.aux > 0)
    launch_with_pdl("count_choices_kernel", stream,
                    {grid(dlogits.rows / args.losses.group), kCountThreads,
                     static_cast<unsigned>(sizeof(int)) * static_cast<unsigned>(experts)},
                    count_choices_kernel, args.expert_of.data(), args.losses.group * args.top_k, experts,
                    args.counts.data());
  with_storage(dlogits.dtype, [&]<class T>() {
    launch_with_pdl("loss_gradient_kernel", stream, {grid(blocks_for(dlogits.rows, kWarps)), kThreads},
                    loss_gradient_kernel<T>, args.rule, args.losses, args.logits.data(), args.counts.data(),
                    dlogits.rows, experts, dlogits.as<T>());
  });
}

}  // namespace moebench::cuda
