// SPDX-License-Identifier: Apache-2.0
// Idea: one launch, one block for each expert of each group. A slot's key says how early it stays: nothing for `position`,
// the score for `probs`, the choice for `choice`, the choice and then the token's best score for `priority`. The
// block finds the key of the last slot that stays, 8 bits at a time from the top: a histogram of the slots that agree
// so far, and the bin in which the expert's rows run out. Slots with larger keys stay; of those with that very key the
// first in slot order, counted as in plan.cu: a part per warp, 32 slots at a time. Where a token has a slot for each expert, in
// their order, a block reads only its own. Every slot is written by the block of
// its expert alone, and no atomic decides an order.
// Layout: from, to [T, K] int32, score [T, K] fp32; a group's slots are neighbours.
// Moves: 8·S bytes, 12·S with scores; each block reads its group's slots from L2, twice, and once more for every 8 bits of
// key (S 8192, E 8: 0.5 MB; S 32768, E 256: 67 MB of L2, latency bound).
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;
constexpr int kLimitThreads = 512, kLimitWarps = kLimitThreads / 32, kBins = 256;

/// What a block is told.
struct Limit {
  const std::int32_t* from;
  const float* score;
  std::int32_t* to;
  std::int64_t slots;  ///< of a group
  int top_k, experts, rows;
  DropPolicy policy;
  bool second_by_chance;
  std::uint64_t chance_key;
  std::int64_t first_token;
};

// kByExpert: slot e of a token is expert e's; then there are no second choices, and keys are nothing or the score.

/// Where the slot would go: nowhere also if chance takes it out.
template <bool kByExpert>
__device__ int expert_at(const Limit& limit, std::int64_t slot) {
  const int expert = limit.from[slot];
  if (kByExpert || !limit.second_by_chance || slot % limit.top_k != 1) return expert;
  const float chance = chance_of(limit.chance_key, limit.first_token + slot / limit.top_k);
  return 2 * limit.score[slot] <= chance ? -1 : expert;
}

/// Orders floats, -0 as 0.
__device__ unsigned ordered(float value) {
  const unsigned bits = value == 0 ? 0 : __float_as_uint(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

constexpr unsigned kMostChoices = 0xFFFF;  ///< 16 bits: kMaxExperts is less

template <bool kByExpert>
__device__ std::uint64_t key_of(const Limit& limit, std::int64_t slot) {
  if (limit.policy == DropPolicy::position) return 0;
  if (kByExpert || limit.policy == DropPolicy::probs) return ordered(limit.score[slot]);
  const int choice = static_cast<int>(slot % limit.top_k);
  const std::uint64_t early = kMostChoices - static_cast<unsigned>(choice);
  if (limit.policy == DropPolicy::choice) return early;
  return early << 32 | ordered(limit.score[slot - choice]);
}

__device__ int bits_of(DropPolicy policy) {
  switch (policy) {
    case DropPolicy::position:
      return 0;
    case DropPolicy::probs:
      return 32;
    case DropPolicy::choice:
      return 16;
    case DropPolicy::priority:
      return 48;
  }
  return 0;
}

/// The highest bin in which the rows run out, counted from the top, and how many of them are left for it; bin 0 if they do
/// not. By one warp, 8 bins a lane.
__device__ void find_bin(const int* bins, int room, int* bin, int* left) {
  constexpr int kEach = kBins / 32;
  const int lane = lane_of_warp(), top = kBins - 1 - lane * kEach;
  int mine = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) mine += bins[top - i];
  int through = mine;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(kAll, through, step);
    if (lane >= step) through += before;
  }
  const unsigned full = __ballot_sync(kAll, through >= room);
  if (lane != (full ? __ffs(static_cast<int>(full)) - 1 : 31)) return;
  int at = top, still = room - (through - mine);
  while (at > top - (kEach - 1) && bins[at] < still) still -= bins[at--];
  *bin = at, *left = still;
}

template <bool kByExpert>
__global__ void __launch_bounds__(kLimitThreads) limit_kernel(Limit limit) {
  grid_dependency_wait();
  __shared__ int bins[kBins], counts[kLimitWarps], bin, left;
  const int expert = static_cast<int>(blockIdx.x) % limit.experts, thread = static_cast<int>(threadIdx.x),
            warp = thread / 32, lane = lane_of_warp();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x / limit.experts) * limit.slots;
  const std::int64_t count = kByExpert ? limit.slots / limit.top_k : limit.slots;
  const auto slot_at = [&](std::int64_t i) {  // of those that the block reads
    return kByExpert ? first + i * limit.top_k + expert : first + i;
  };
  std::uint64_t key = 0;  // of the last slot that stays
  int room = limit.rows;  // for slots with that key
  for (int shift = bits_of(limit.policy) - 8; shift >= 0; shift -= 8) {
    for (int i = thread; i < kBins; i += kLimitThreads) bins[i] = 0;
    __syncthreads();
    for (std::int64_t i = thread; i < count; i += kLimitThreads) {
      const std::int64_t s = slot_at(i);
      if (expert_at<kByExpert>(limit, s) != expert) continue;
      const std::uint64_t high = key_of<kByExpert>(limit, s) >> shift;
      if (high >> 8 == key) atomicAdd(&bins[high & (kBins - 1)], 1);
    }
    __syncthreads();
    if (warp == 0) find_bin(bins, room, &bin, &left);
    __syncthreads();
    key = key << 8 | static_cast<unsigned>(bin);
    room = left;
  }
  const std::int64_t part = (count + kLimitThreads - 1) / kLimitThreads * 32, begin = min(warp * part, count),
                     end = min(begin + part, count);
  int ties = 0;
  for (std::int64_t i = begin + lane; i < end; i += 32)
    ties += expert_at<kByExpert>(limit, slot_at(i)) == expert && key_of<kByExpert>(limit, slot_at(i)) == key;
  ties = __reduce_add_sync(kAll, ties);
  if (lane == 0) counts[warp] = ties;
  __syncthreads();
  int before = 0;
  for (int w = 0; w < warp; ++w) before += counts[w];
  for (std::int64_t i = begin; i < end; i += 32) {  // all lanes together: they vote
    const std::int64_t s = slot_at(i + lane);
    const int from = i + lane < end ? expert_at<kByExpert>(limit, s) : expert + 1;
    const bool mine = from == expert;
    const std::uint64_t of_slot = mine ? key_of<kByExpert>(limit, s) : 0;
    const unsigned tied = __ballot_sync(kAll, mine && of_slot == key);
    const int rank = before + __popc(tied & ((1u << lane) - 1));
    if (mine) limit.to[s] = of_slot > key || (of_slot == key && rank < room) ? expert : -1;
    if (from < 0 && (kByExpert || expert == 0)) limit.to[s] = -1;  // dropped before: no block's own
    before += __popc(tied);
  }
}

}  // namespace

void limit(cudaStream_t stream, const LimitRows& args) {
  const auto slots = static_cast<std::int64_t>(args.from.size());
  if (slots == 0) return;
  MB_ASSERT(!args.by_expert || (!args.second_by_chance &&
                                (args.policy == DropPolicy::position || args.policy == DropPolicy::probs)));
  const Limit limit{.from = args.from.data(),
                    .score = args.score.data(),
                    .to = args.to.data(),
                    .slots = args.group * args.top_k,
                    .top_k = static_cast<int>(args.top_k),
                    .experts = static_cast<int>(args.experts),
                    .rows = static_cast<int>(args.rows),
                    .policy = args.policy,
                    .second_by_chance = args.second_by_chance,
                    .chance_key = args.chance_key,
                    .first_token = args.first_token};
  launch_with_pdl("limit_kernel", stream, {grid(slots / limit.slots * args.experts), kLimitThreads},
                  args.by_expert ? limit_kernel<true> : limit_kernel<false>, limit);
}

}  // namespace moebench::cuda
