// SPDX-License-Identifier: Apache-2.0
// Sinkhorn's algorithm over groups of tokens (layer/gates/sinkhorn.cpp has the formula).
// Idea: two launches an iteration. (1) A block takes kBalanceTokens tokens of a group, a warp one of them at a time: its largest
// logit, the sum over experts of factor times exponential, and then what it adds to each expert's column. Each warp adds in
// shared memory of its own, then the warps' sums are added in order. (2) A thread for each expert of each group adds the
// blocks' sums in order and makes the factor. No atomics: the same bits every time, and the host does not look.
// Layout: logits [T, E] fp32; factors, in the end their logarithms, [groups, E]; sums of the parts [groups, parts, E].
// Moves: per iteration 4·T·E bytes from L2 and 4·E·T/kBalanceTokens twice (4096 x 64: 1 MB, launch bound).
#include "backends/cuda/gates/groups.cuh"
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

/// kFirst: all factors are 1.
template <bool kFirst>
__global__ void __launch_bounds__(kThreads)
    balance_columns_kernel(GateBalance balance, const float* __restrict__ logits, int experts, int parts) {
  grid_dependency_wait();
  extern __shared__ float sums[];  // [kWarps, E]
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = lane_of_warp();
  const std::int64_t group = blockIdx.x / parts, first = blockIdx.x % parts * kBalanceTokens,
                     last = min(first + kBalanceTokens, balance.group);
  const float* const factors = balance.offsets + group * experts;
  float* const mine = sums + warp * experts;
  for (int e = lane; e < experts; e += 32) mine[e] = 0;
  for (std::int64_t t = first + warp; t < last; t += kWarps) {
    const float* const row = logits + (group * balance.group + t) * experts;
    const float most = largest(row, experts);
    float sum = 0;
    for (int e = lane; e < experts; e += 32) sum += (kFirst ? 1 : factors[e]) * expf(row[e] - most);
    const float scale = 1 / (warp_sum(sum) * static_cast<float>(balance.group));
    for (int e = lane; e < experts; e += 32) mine[e] += scale * expf(row[e] - most);
  }
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads) {
    float sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += sums[w * experts + e];
    balance.scratch[static_cast<std::int64_t>(blockIdx.x) * experts + e] = sum;
  }
}

/// kLast: the factors' logarithms.
template <bool kLast>
__global__ void __launch_bounds__(kThreads)
    balance_factors_kernel(GateBalance balance, std::int64_t count, int experts, int parts) {
  grid_dependency_wait();
  constexpr float kEpsilon = 1e-8f;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const float* const of_parts = balance.scratch + i / experts * parts * experts + i % experts;
  float sum = 0;
#pragma unroll 8
  for (int part = 0; part < parts; ++part) sum += of_parts[static_cast<std::int64_t>(part) * experts];
  const float factor = 1 / (static_cast<float>(experts) * (sum + kEpsilon));
  balance.offsets[i] = kLast ? logf(factor) : factor;
}

}  // namespace

void balance_groups(cudaStream_t stream, const GateForward& args) {
  const GateBalance& balance = args.rule.balance;
  const std::int64_t tokens = args.x.rows;
  if (tokens == 0) return;
  const auto experts = static_cast<int>(args.weight.cols),
             parts = static_cast<int>(balance_parts(balance.group));
  const std::int64_t groups = tokens / balance.group, count = groups * experts;
  const auto shared = static_cast<unsigned>(kWarps * experts) * static_cast<unsigned>(sizeof(float));
  for (int i = 0; i < balance.iterations; ++i) {
    launch_with_pdl("balance_columns_kernel", stream, {grid(groups * parts), kThreads, shared},
                    i == 0 ? balance_columns_kernel<true> : balance_columns_kernel<false>, balance,
                    args.logits.data(), experts, parts);
    launch_with_pdl(
        "balance_factors_kernel", stream, {grid(blocks_for(count, kThreads)), kThreads},
        i + 1 == balance.iterations ? balance_factors_kernel<true> : balance_factors_kernel<false>, balance,
        count, experts, parts);
  }
}

}  // namespace moebench::cuda
