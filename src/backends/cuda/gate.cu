// SPDX-License-Identifier: Apache-2.0
// Idea: one warp per token. A logit becomes a 32-bit key that sorts like it; K times, the warp's largest
// key is found by two warp reductions (largest key, then lowest expert among those that have it) and
// struck out. Up to 1024 experts the keys live in registers; beyond, each round reads the token's logits
// again from the cache.
// Layout: logits [T, E] fp32, expert i in lane i mod 32; expert_of, score [T, K].
// Moves: choose reads 4·T·E and writes 8·T·K bytes (4096 × 64, K 2: 1.1 MB, 0.3 µs at 4 TB/s: latency
// bound). The gradient writes T·E elements of the layer's format and reads 12·T·K bytes.
#include "backends/cuda/kernels.h"
#include "backends/cuda/storage.cuh"

namespace moebench::cuda {
namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;
constexpr unsigned kAbsent = 0;  ///< below the key of every number, NaN included

/// Orders floats, -0 as 0, NaN somewhere: any logits give K different experts.
__device__ unsigned key_of(float logit) {
  if (logit == 0) logit = 0;  // turns -0 into 0
  const unsigned bits = __float_as_uint(logit);
  return max(bits & 0x80000000u ? ~bits : bits | 0x80000000u, kAbsent + 1);
}

/// The expert with the warp's largest key, the lowest of equals.
__device__ int best_of_warp(unsigned key, int expert) {
  const unsigned top = __reduce_max_sync(kAll, key);
  return static_cast<int>(__reduce_min_sync(kAll, key == top ? static_cast<unsigned>(expert) : kAll));
}

/// score = softmax over the logits of the experts chosen, which other lanes of this warp have written.
__device__ void softmax_over_kept(const float* logits, const std::int32_t* chosen, int k, float* score) {
  __syncwarp();
  const float most = logits[chosen[0]];
  float sum = 0;
  for (int j = lane_of_warp(); j < k; j += 32) {
    const float weight = expf(logits[chosen[j]] - most);
    score[j] = weight;
    sum += weight;
  }
  sum = warp_sum(sum);
  for (int j = lane_of_warp(); j < k; j += 32) score[j] /= sum;
}

template <int kKeys>
__global__ void __launch_bounds__(kThreads)
    gate_registers_kernel(const float* __restrict__ logits, std::int64_t tokens, int experts, int k,
                          std::int32_t* expert_of, float* score) {
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int lane = lane_of_warp();
  logits += t * experts, expert_of += t * k, score += t * k;
  unsigned keys[kKeys];
#pragma unroll
  for (int i = 0; i < kKeys; ++i) keys[i] = i * 32 + lane < experts ? key_of(logits[i * 32 + lane]) : kAbsent;
  for (int j = 0; j < k; ++j) {
    unsigned best = kAbsent;
    int expert = lane;
#pragma unroll
    for (int i = 0; i < kKeys; ++i) {
      if (keys[i] > best) {
        best = keys[i];
        expert = i * 32 + lane;
      }
    }
    const int chosen = best_of_warp(best, expert);
    if (lane == 0) expert_of[j] = chosen;
#pragma unroll
    for (int i = 0; i < kKeys; ++i)
      if (i * 32 + lane == chosen) keys[i] = kAbsent;
  }
  softmax_over_kept(logits, expert_of, k, score);
}

__global__ void __launch_bounds__(kThreads)
    gate_rescan_kernel(const float* __restrict__ logits, std::int64_t tokens, int experts, int k,
                       std::int32_t* expert_of, float* score) {
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int lane = lane_of_warp();
  logits += t * experts, expert_of += t * k, score += t * k;
  unsigned last_key = kAll;
  int last = -1;
  for (int j = 0; j < k; ++j) {
    unsigned best = kAbsent;
    int expert = lane;
    for (int e = lane; e < experts; e += 32) {
      const unsigned key = key_of(logits[e]);
      const bool after_last = key < last_key || (key == last_key && e > last);
      if (after_last && key > best) {
        best = key;
        expert = e;
      }
    }
    last = best_of_warp(best, expert);
    last_key = key_of(logits[last]);
    if (lane == 0) expert_of[j] = last;
  }
  softmax_over_kept(logits, expert_of, k, score);
}

/// dlogit_j = score_j · (dscore_j - Σ score·dscore): the softmax's Jacobian is diag(s) - s·sᵀ. The warp first
/// zeroes the token's row, then writes K places of it.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    gate_backward_kernel(const std::int32_t* __restrict__ expert_of, const float* __restrict__ score,
                         const float* __restrict__ dscore, std::int64_t tokens, std::int64_t experts, int k,
                         T* dlogits) {
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int lane = lane_of_warp();
  expert_of += t * k, score += t * k, dscore += t * k, dlogits += t * experts;
  float mean = 0;
  for (int j = lane; j < k; j += 32) mean += score[j] * dscore[j];
  mean = warp_sum(mean);
  const float zeros[N] = {};
  for (std::int64_t e = lane * N; e < experts; e += 32 * N) store<T, N>(dlogits + e, zeros);
  __syncwarp();  // orders the zeroes before the numbers
  for (int j = lane; j < k; j += 32) dlogits[expert_of[j]] = rounded<T>(score[j] * (dscore[j] - mean));
}

/// kernel.operator()<keys>() with room for this many experts in a warp's registers, or <0>.
template <class Launch>
void with_keys(std::int64_t experts, Launch launch) {
  if (experts <= 32) return launch.template operator()<1>();
  if (experts <= 64) return launch.template operator()<2>();
  if (experts <= 128) return launch.template operator()<4>();
  if (experts <= 256) return launch.template operator()<8>();
  if (experts <= 512) return launch.template operator()<16>();
  if (experts <= 1024) return launch.template operator()<32>();
  return launch.template operator()<0>();
}

}  // namespace

void choose_experts(cudaStream_t stream, const GateForward& args) {
  const std::int64_t tokens = args.x.rows, experts = args.weight.cols;
  if (tokens == 0) return;
  MB_ASSERT(args.top_k >= 1 && args.top_k <= experts);
  const unsigned blocks = grid(blocks_for(tokens, kWarps));
  with_keys(experts, [&]<int kKeys>() {
    auto* kernel = gate_rescan_kernel;
    if constexpr (kKeys > 0) kernel = gate_registers_kernel<kKeys>;
    kernel<<<blocks, kThreads, 0, stream>>>(args.logits.data(), tokens, static_cast<int>(experts),
                                            static_cast<int>(args.top_k), args.expert_of.data(),
                                            args.score.data());
  });
  check_launch("gate_registers_kernel");
}

void differentiate_choice(cudaStream_t stream, const GateBackward& args, const TensorView& dlogits) {
  if (dlogits.size() == 0) return;
  with_access(dlogits.dtype, dlogits.cols, {dlogits.data}, [&]<class T, int N>() {
    gate_backward_kernel<T, N><<<grid(blocks_for(dlogits.rows, kWarps)), kThreads, 0, stream>>>(
        args.expert_of.data(), args.score.data(), args.dscore.data(), dlogits.rows, dlogits.cols,
        static_cast<int>(args.top_k), dlogits.as<T>());
  });
  check_launch("gate_backward_kernel");
}

}  // namespace moebench::cuda
