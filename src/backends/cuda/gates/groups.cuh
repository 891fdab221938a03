// SPDX-License-Identifier: Apache-2.0
// Keys that sort like logits, and the choice of groups among a warp's keys.
#pragma once

#include "backends/cuda/stages/storage.cuh"
#include "backends/gate_rule.h"

namespace moebench::cuda {

inline constexpr unsigned kAll = 0xFFFFFFFFu;
inline constexpr unsigned kAbsent = 0;  ///< below the key of every number, NaN included

/// Orders floats, -0 as 0, NaN somewhere: any logits give K different experts.
__device__ inline unsigned key_of(float logit) {
  if (logit == 0) logit = 0;  // turns -0 into 0
  const unsigned bits = __float_as_uint(logit);
  return max(bits & 0x80000000u ? ~bits : bits | 0x80000000u, kAbsent + 1);
}

/// The logit that a key was made of.
__device__ inline float logit_of(unsigned key) {
  return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key);
}

/// Of a token's logits, by one warp.
__device__ inline float largest(const float* logits, int experts) {
  unsigned key = kAbsent;
  for (int e = lane_of_warp(); e < experts; e += 32) key = max(key, key_of(logits[e]));
  return logit_of(__reduce_max_sync(kAll, key));
}

/// The expert with the warp's largest key, the lowest of equals.
__device__ inline int best_of_warp(unsigned key, int expert, unsigned top) {
  return static_cast<int>(__reduce_min_sync(kAll, key == top ? static_cast<unsigned>(expert) : kAll));
}

/// The sum of the ranks of the group's `counted` best experts, from the best down: each is the largest after the last one.
template <int kKeys>
__device__ float group_score(const unsigned (&keys)[kKeys], int group, int size, int counted) {
  unsigned last_key = kAll;
  int last = -1;
  float sum = 0;
  for (int n = 0; n < counted; ++n) {
    unsigned best = kAbsent;
    int expert = lane_of_warp();
#pragma unroll
    for (int i = 0; i < kKeys; ++i) {
      const int e = i * 32 + lane_of_warp();
      const bool after_last = keys[i] < last_key || (keys[i] == last_key && e > last);
      if (e / size == group && after_last && keys[i] > best) best = keys[i], expert = e;
    }
    last_key = __reduce_max_sync(kAll, best);
    last = best_of_warp(best, expert, last_key);
    sum += logit_of(last_key);
  }
  return sum;
}

/// Makes the keys of all groups absent but the `kept_groups` best, the lower group on a tie. Lane g keeps group g's score.
template <int kKeys>
__device__ void keep_groups(const GateRule& rule, int experts, unsigned (&keys)[kKeys]) {
  const int size = experts / rule.groups, lane = lane_of_warp();
  unsigned mine = kAbsent;
  for (int g = 0; g < rule.groups; ++g) {
    const float score = group_score(keys, g, size, rule.counted);
    if (lane == g) mine = key_of(score);
  }
  unsigned kept = 0;
  for (int n = 0; n < rule.kept_groups; ++n) {
    const int best = best_of_warp(mine, lane, __reduce_max_sync(kAll, mine));
    kept |= 1u << best;
    if (lane == best) mine = kAbsent;
  }
#pragma unroll
  for (int i = 0; i < kKeys; ++i) {
    const int group = (i * 32 + lane) / size;
    if (group < rule.groups && (kept >> group & 1) == 0) keys[i] = kAbsent;
  }
}

}  // namespace moebench::cuda
