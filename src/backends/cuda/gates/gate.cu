// SPDX-License-Identifier: Apache-2.0
// Idea: one warp per token. A logit becomes a 32-bit key that sorts like it; K times, the warp's largest
// key is found by two warp reductions (largest key, then lowest expert among those that have it) and
// struck out. With groups the keys of groups that are not kept are struck out first (groups.cuh). Up to 1024 experts the keys live in registers; beyond, each round reads the token's logits
// again from the cache.
// In 16-bit formats and up to 16 experts one kernel makes the logits as well: each block takes 16 tokens, each of
// its warps an eighth of the inner dimension, by mma.sync on operands that go from memory to registers; the warps'
// sums are added in order. The order of the inner dimension and of the experts within a fragment is free, so each
// thread loads neighbours: 8 elements of a token, all of its experts of a row of the weight.
// Layout: logits [T, E] fp32, expert i in lane i mod 32; expert_of, score [T, K].
// Moves: in one kernel x once and the weight per block from L2 (4096 x 1024, E 8, bf16: 8.4 MB, 2 µs); choose
// reads 4·T·E and writes 8·T·K bytes (4096 × 64, K 2: 1.1 MB, 0.3 µs at 4 TB/s: latency bound). The gradient writes
// T·E elements of the layer's format and reads 12·T·K bytes,
// of gates other than topk the logits too.
#include "backends/cuda/gates/groups.cuh"
#include "backends/cuda/gates/score.cuh"
#include "backends/cuda/ptx/ampere.cuh"
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

/// On an H200, µs for 4096 tokens of 1024 and 16384 of 4096: one kernel with 16 experts 12.3 and 52, with 32 13.5 and 78, with
/// 64 18.9 and 129; cuBLAS and a choice among 64 11.7 and 48.
constexpr std::int64_t kMaxExpertsInOne = 16;

/// Of a token's logits: that of the best choice, if choices follow them.
template <bool kTopk>
__device__ float largest_of(const GateRule& rule, const float* logits, int experts, float of_best) {
  return !kTopk && balances(rule) ? largest(logits, experts) : of_best;
}

/// Their sum over the scale, by all lanes of the warp; `mine` is that of this lane's choices.
template <bool kTopk>
__device__ float sum_of_weights(const GateRule& rule, const float* logits, int experts, int k, float mine,
                                float most) {
  if constexpr (kTopk) return warp_sum(mine);
  if (rule.score == GateScore::softmax) {
    mine = 0;
    for (int e = lane_of_warp(); e < experts; e += 32) mine += expf(logits[e] - most);
  }
  const float sum = warp_sum(mine);
  return (k == 1 && !is_softmax(rule) ? 1 : sum) /
         rule.scale;  // sigmoid and sqrtsoftplus of one choice are not normalised
}

/// score [K] of the experts chosen, which other lanes of this warp have written.
template <bool kTopk>
__device__ void score_chosen(const GateRule& rule, const float* logits, int experts,
                             const std::int32_t* chosen, int k, float* score) {
  __syncwarp();
  const float most = largest_of<kTopk>(rule, logits, experts, logits[chosen[0]]);
  float sum = 0;
  for (int j = lane_of_warp(); j < k; j += 32) {
    const float weight = weight_of<kTopk>(rule, logits[chosen[j]], most);
    score[j] = weight;
    sum += weight;
  }
  sum = sum_of_weights<kTopk>(rule, logits, experts, k, sum, most);
  for (int j = lane_of_warp(); j < k; j += 32) score[j] /= sum;
}

/// One token by one warp; its logits in memory or shared memory. Lane j keeps choice j; with k > 32 memory does.
template <int kKeys, bool kTopk>
__device__ void choose(const GateRule& rule, const float* logits, int experts, int k, std::int32_t* expert_of,
                       float* score) {
  const int lane = lane_of_warp();
  unsigned keys[kKeys];
#pragma unroll
  for (int i = 0; i < kKeys; ++i) {
    const int e = i * 32 + lane;
    keys[i] = e < experts ? key_of(rank_of<kTopk>(rule, logits[e], e)) : kAbsent;
  }
  if (!kTopk && rule.groups > 1) keep_groups(rule, experts, keys);
  const bool few = k <= 32;
  int my_expert = 0;
  float my_logit = 0;
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
    const unsigned top = __reduce_max_sync(kAll, best);
    const int chosen = best_of_warp(best, expert, top);
    if (few && lane == j) my_expert = chosen, my_logit = logit_of(top);
    if (!few && lane == 0) expert_of[j] = chosen;
#pragma unroll
    for (int i = 0; i < kKeys; ++i)
      if (i * 32 + lane == chosen) keys[i] = kAbsent;
  }
  if (!few) return score_chosen<kTopk>(rule, logits, experts, expert_of, k, score);
  if (!kTopk && ranks_by_score(rule) && lane < k) my_logit = logits[my_expert];
  const float most = largest_of<kTopk>(rule, logits, experts, __shfl_sync(kAll, my_logit, 0)),
              weight = lane < k ? weight_of<kTopk>(rule, my_logit, most) : 0,
              sum = sum_of_weights<kTopk>(rule, logits, experts, k, weight, most);
  if (lane < k) expert_of[lane] = my_expert, score[lane] = weight / sum;
}

template <int kKeys, bool kTopk>
__global__ void __launch_bounds__(kThreads)
    gate_registers_kernel(GateRule rule, const float* __restrict__ logits, std::int64_t tokens, int experts,
                          int k, std::int32_t* expert_of, float* score) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  if (!kTopk && balances(rule)) rule.bias = rule.balance.offsets + t / rule.balance.group * experts;
  choose<kKeys, kTopk>(rule, logits + t * experts, experts, k, expert_of + t * k, score + t * k);
}

constexpr int kGateTokens = 16;

/// kPer: experts of a thread, side by side in a row of the weight; 8·kPer >= E, kPer divides E. H % 32 = 0.
template <class T, int kPer, bool kTopk>
__global__ void __launch_bounds__(kThreads)
    gate_whole_kernel(GateRule rule, const T* __restrict__ x, const T* __restrict__ weight,
                      std::int64_t tokens, int hidden, int experts, int k, float* logits,
                      std::int32_t* expert_of, float* score) {
  grid_dependency_wait();
  __shared__ float sums[kWarps][kGateTokens][8 * kPer];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = lane_of_warp(), row = lane / 4, quad = lane % 4;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kGateTokens;
  const T* const upper = x + min(first + row, tokens - 1) * hidden;
  const T* const lower = x + min(first + row + 8, tokens - 1) * hidden;
  const bool has_experts = (row + 1) * kPer <= experts;
  float c[kPer][4] = {};
#pragma unroll 4
  for (int step = 32 * warp; step < hidden; step += 32 * kWarps) {
    const int from =
        step + 8 * quad;  // this thread's 8 of the inner dimension: two products of 16 for the warp
    const uint4 up = *reinterpret_cast<const uint4*>(upper + from),
                low = *reinterpret_cast<const uint4*>(lower + from);
    alignas(16) std::uint16_t b[8][kPer] = {};
    if (has_experts) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const T* const at = weight + static_cast<std::int64_t>(from + i) * experts + row * kPer;
        using Wide = std::conditional_t<
            kPer == 8, uint4,
            std::conditional_t<kPer == 4, uint2, std::conditional_t<kPer == 2, unsigned, std::uint16_t>>>;
        *reinterpret_cast<Wide*>(b[i]) = *reinterpret_cast<const Wide*>(at);
      }
    }
#pragma unroll
    for (int e = 0; e < kPer; ++e) {
      const auto pair = [&](int i) {
        return static_cast<unsigned>(b[i][e]) | static_cast<unsigned>(b[i + 1][e]) << 16;
      };
      ptx::mma_m16n8k16<T>(c[e], {up.x, low.x, up.y, low.y}, pair(0), pair(2));
      ptx::mma_m16n8k16<T>(c[e], {up.z, low.z, up.w, low.w}, pair(4), pair(6));
    }
  }
#pragma unroll
  for (int e = 0; e < kPer; ++e)
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[warp][row + i / 2 * 8][(2 * quad + i % 2) * kPer + e] = c[e][i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kGateTokens * 8 * kPer; i += kThreads) {
    const int token = i / (8 * kPer), expert = i % (8 * kPer);
    float sum = sums[0][token][expert];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += sums[w][token][expert];
    sums[0][token][expert] = sum;
    if (first + token < tokens && expert < experts) logits[(first + token) * experts + expert] = sum;
  }
  __syncthreads();
  for (int token = warp; token < kGateTokens; token += kWarps)
    if (const std::int64_t t = first + token; t < tokens)
      choose<(8 * kPer + 31) / 32, kTopk>(rule, sums[0][token], experts, k, expert_of + t * k, score + t * k);
}

template <bool kTopk>
__global__ void __launch_bounds__(kThreads)
    gate_rescan_kernel(GateRule rule, const float* __restrict__ logits, std::int64_t tokens, int experts,
                       int k, std::int32_t* expert_of, float* score) {
  grid_dependency_wait();
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
    last = best_of_warp(best, expert, __reduce_max_sync(kAll, best));
    last_key = key_of(logits[last]);
    if (lane == 0) expert_of[j] = last;
  }
  score_chosen<kTopk>(rule, logits, experts, expert_of, k, score);
}

/// Every expert and its share of the softmax, in order. One warp per token.
__global__ void __launch_bounds__(kThreads)
    score_all_kernel(const float* __restrict__ logits, std::int64_t tokens, int experts,
                     std::int32_t* expert_of, float* score) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int lane = lane_of_warp();
  logits += t * experts, expert_of += t * experts, score += t * experts;
  const float most = largest(logits, experts);
  float sum = 0;
  for (int e = lane; e < experts; e += 32) sum += expf(logits[e] - most);
  sum = warp_sum(sum);
  for (int e = lane; e < experts; e += 32) expert_of[e] = e, score[e] = expf(logits[e] - most) / sum;
}

/// −mean · softmax of the token's logits for all experts, by one warp.
template <class T>
__device__ void fill_dense(const float* __restrict__ logits, int experts, float most, float mean,
                           T* dlogits) {
  float sum = 0;
  for (int e = lane_of_warp(); e < experts; e += 32) sum += expf(logits[e] - most);
  const float factor = -mean / warp_sum(sum);
  for (int e = lane_of_warp(); e < experts; e += 32) dlogits[e] = rounded<T>(factor * expf(logits[e] - most));
}

/// dlogit_j = slope_j · (dscore_j - mean). Of the softmax over the chosen: slope = score, mean = Σ score·dscore, since its
/// Jacobian is diag(s) - s·sᵀ; of the others see layer/gates. The warp first zeroes the token's row, or fills it where
/// every logit has a gradient, then writes K places of it.
template <class T, int N, bool kTopk>
__global__ void __launch_bounds__(kThreads)
    gate_backward_kernel(GateRule rule, const float* __restrict__ logits,
                         const std::int32_t* __restrict__ expert_of, const float* __restrict__ score,
                         const float* __restrict__ dscore, std::int64_t tokens, std::int64_t experts, int k,
                         T* dlogits) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int lane = lane_of_warp();
  expert_of += t * k, score += t * k, dscore += t * k, dlogits += t * experts;
  float mean = 0;
  for (int j = lane; j < k; j += 32) mean += score[j] * dscore[j];
  mean = warp_sum(mean);
  if constexpr (!kTopk) {
    logits += t * experts;
    if (!is_softmax(rule)) mean = k == 1 ? 0 : mean / rule.scale;
  }
  const float zeros[N] = {};
  if (!kTopk && rule.score == GateScore::softmax)
    fill_dense(logits, static_cast<int>(experts),
               largest_of<kTopk>(rule, logits, static_cast<int>(experts), logits[expert_of[0]]), mean,
               dlogits);
  else
    for (std::int64_t e = lane * N; e < experts; e += 32 * N) store<T, N>(dlogits + e, zeros);
  __syncwarp();  // orders the zeroes before the numbers
  for (int j = lane; j < k; j += 32) {
    float slope = score[j];
    if (!kTopk && !is_softmax(rule)) slope *= relative_slope(rule, logits[expert_of[j]]);
    dlogits[expert_of[j]] = rounded<T>(slope * (dscore[j] - mean));
  }
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

/// kernel.operator()<whether the rule is topk's>().
template <class Launch>
void with_rule(const GateRule& rule, Launch launch) {
  if (rule.score == GateScore::softmax_of_chosen) return launch.template operator()<true>();
  return launch.template operator()<false>();
}

}  // namespace

void choose_experts(cudaStream_t stream, const GateForward& args) {
  const std::int64_t tokens = args.x.rows, experts = args.weight.cols;
  if (tokens == 0) return;
  MB_ASSERT(args.top_k >= 1 && args.top_k <= experts);
  MB_ASSERT(!args.rule.ranks_by_score() || experts <= 1024);
  const unsigned blocks = grid(blocks_for(tokens, kWarps));
  if (args.rule.all_experts)
    return launch_with_pdl("score_all_kernel", stream, {blocks, kThreads}, score_all_kernel,
                           args.logits.data(), tokens, static_cast<int>(experts), args.expert_of.data(),
                           args.score.data());
  with_rule(args.rule, [&]<bool kTopk>() {
    with_keys(experts, [&]<int kKeys>() {
      auto* kernel = gate_rescan_kernel<kTopk>;
      if constexpr (kKeys > 0) kernel = gate_registers_kernel<kKeys, kTopk>;
      launch_with_pdl("gate_registers_kernel", stream, {blocks, kThreads}, kernel, args.rule,
                      args.logits.data(), tokens, static_cast<int>(experts), static_cast<int>(args.top_k),
                      args.expert_of.data(), args.score.data());
    });
  });
}

bool gate_in_one(cudaStream_t stream, const GateForward& args) {
  const std::int64_t tokens = args.x.rows, hidden = args.x.cols, experts = args.weight.cols;
  const int per = experts <= 8 ? 1 : 2;
  if (tokens == 0 || args.rule.all_experts || args.rule.balance.any() || size_of(args.x.dtype) != 2 ||
      args.weight.dtype != args.x.dtype || experts > kMaxExpertsInOne || experts % per != 0 ||
      hidden % 32 != 0 || !is_aligned(args.x.data) || !is_aligned(args.weight.data))
    return false;
  MB_ASSERT(args.top_k >= 1 && args.top_k <= experts);
  with_storage(args.x.dtype, [&]<class T>() {
    const auto launch = [&]<int kPer>() {
      if constexpr (sizeof(T) == 2)
        with_rule(args.rule, [&]<bool kTopk>() {
          launch_with_pdl("gate_whole_kernel", stream, {grid(blocks_for(tokens, kGateTokens)), kThreads},
                          gate_whole_kernel<T, kPer, kTopk>, args.rule, args.x.as<const T>(),
                          args.weight.as<const T>(), tokens, static_cast<int>(hidden),
                          static_cast<int>(experts), static_cast<int>(args.top_k), args.logits.data(),
                          args.expert_of.data(), args.score.data());
        });
    };
    if (per == 1) launch.template operator()<1>();
    if (per == 2) launch.template operator()<2>();
  });
  return true;
}

void gate_softmax_backward(cudaStream_t stream, const GateBackward& args, const TensorView& dlogits) {
  if (dlogits.size() == 0) return;
  with_rule(args.rule, [&]<bool kTopk>() {
    with_access(dlogits.dtype, dlogits.cols, {dlogits.data}, [&]<class T, int N>() {
      launch_with_pdl("gate_backward_kernel", stream, {grid(blocks_for(dlogits.rows, kWarps)), kThreads},
                      gate_backward_kernel<T, N, kTopk>, args.rule, args.logits.data(), args.expert_of.data(),
                      args.score.data(), args.dscore.data(), dlogits.rows, dlogits.cols,
                      static_cast<int>(args.top_k), dlogits.as<T>());
    });
  });
}

}  // namespace moebench::cuda
