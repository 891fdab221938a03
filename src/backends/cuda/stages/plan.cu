// SPDX-License-Identifier: Apache-2.0
// Idea: a stable counting sort in three launches, without atomics that decide an order. The slots are cut
// into chunks, one block each. (1) Each block counts its chunk's slots per expert. (2) One warp per expert
// turns the counts of all blocks into what lies before each block, and the expert's total. (3) Each block
// sums the totals into offsets, cuts its chunk into one part per warp, counts again per warp, and walks
// the parts in slot order: 32 slots at a time, a slot's rank among equals is the number of lower lanes
// that chose the same expert. A dropped slot, expert -1, is not counted and has row -1.
// Few slots take one launch: 32 blocks, each of which counts all chunks, one a warp, and places its own
// chunk's slots, one a thread.
// Layout: expert_of, row_of, slot_of (if wanted) [S] int32; scratch: counts of blocks [E, B], B <= 512.
// Moves: expert_of twice read from memory and once from cache, 8·S written; in one launch 32 times read from
// L2 (S 8192: 1 MB, latency bound).
#include <algorithm>

#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"
#include "base/text.h"

namespace moebench::cuda {
namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;

/// How slots are dealt to blocks and warps: a function of the sizes alone, so that every step is repeatable.
struct Cut {
  std::int64_t chunk;  ///< slots of a block, a multiple of 32·warps
  int blocks, warps;
};

constexpr std::int64_t kMaxBlocks = 512, kSharedWords = 48 * 1024 / 4;

Cut cut_of(std::int64_t slots, std::int64_t experts) {
  int warps = kWarps;
  while (warps > 1 && (warps + 1) * experts > kSharedWords) warps /= 2;
  const std::int64_t step = 32 * kWarps, wanted = blocks_for(slots, kMaxBlocks);
  const std::int64_t chunk = std::max(step, blocks_for(wanted, step) * step);
  return {chunk, static_cast<int>(std::max<std::int64_t>(1, blocks_for(slots, chunk))), warps};
}

__device__ int inclusive_sum(int value) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(kAll, value, step);
    if (lane_of_warp() >= step) value += before;
  }
  return value;
}

/// How a warp's lanes with the same expert find each other.
struct Peers {
  int rank, count;  ///< lower lanes among them, and all of them
  __device__ explicit Peers(int expert) {
    const unsigned peers = __match_any_sync(kAll, expert);
    rank = __popc(peers & ((1u << lane_of_warp()) - 1));
    count = __popc(peers);
  }
};

__global__ void __launch_bounds__(kThreads)
    plan_count_kernel(const std::int32_t* __restrict__ expert_of, std::int64_t slots, std::int64_t chunk,
                      int experts, std::int32_t* counts_of_blocks) {
  grid_dependency_wait();
  extern __shared__ int counts[];  // [E]
  for (int e = threadIdx.x; e < experts; e += blockDim.x) counts[e] = 0;
  __syncthreads();
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, slots);
  for (std::int64_t s = begin + threadIdx.x; s < end; s += blockDim.x)
    if (const int e = expert_of[s]; e >= 0) atomicAdd(&counts[e], 1);
  __syncthreads();
  for (int e = threadIdx.x; e < experts; e += blockDim.x)
    counts_of_blocks[static_cast<std::int64_t>(e) * gridDim.x + blockIdx.x] = counts[e];
}

/// Every lane takes as many neighbouring blocks as it must, at most kEach, and reads them all at once.
__global__ void __launch_bounds__(kThreads)
    plan_scan_kernel(std::int32_t* counts_of_blocks, int blocks, int experts, std::int32_t* totals) {
  grid_dependency_wait();
  const std::int64_t e = warp_of_grid();
  if (e >= experts) return;
  constexpr int kEach = kMaxBlocks / 32;
  const int lane = lane_of_warp(), each = (blocks + 31) / 32, first = lane * each,
            last = min(first + each, blocks);
  std::int32_t* const counts = counts_of_blocks + e * blocks;
  int mine[kEach], sum = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) mine[i] = first + i < last ? counts[first + i] : 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) sum += mine[i];
  const int through = inclusive_sum(sum);
  int before = through - sum;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (first + i < last) counts[first + i] = before;
    before += mine[i];
  }
  if (lane == 31) totals[e] = through;
}

/// starts[e] = Σ totals below e, by one warp; the first block writes the offsets.
__device__ void sum_totals(const std::int32_t* __restrict__ totals, int experts, int* starts,
                           std::int32_t* offsets) {
  const int lane = lane_of_warp();
  int total = 0;
  for (int first = 0; first < experts; first += 32) {
    const int e = first + lane, mine = e < experts ? totals[e] : 0;
    const int through = inclusive_sum(mine);
    if (e < experts) {
      starts[e] = total + through - mine;
      if (blockIdx.x == 0) offsets[e] = starts[e];
    }
    total += __shfl_sync(kAll, through, 31);
  }
  if (blockIdx.x == 0 && lane == 0) offsets[experts] = total;
}

__global__ void __launch_bounds__(kThreads)
    plan_scatter_kernel(const std::int32_t* __restrict__ expert_of, std::int64_t slots, std::int64_t chunk,
                        int experts, const std::int32_t* __restrict__ before_block,
                        const std::int32_t* __restrict__ totals, bool by_token, std::int32_t* offsets,
                        std::int32_t* row_of, std::int32_t* slot_of) {
  grid_dependency_wait();
  extern __shared__ int shared[];
  int* const starts = shared;             // [E]
  int* const cursors = shared + experts;  // [warps, E]: the next row of each expert for each warp
  const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32,
            lane = lane_of_warp();
  if (warp == 0) sum_totals(totals, experts, starts, offsets);
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, slots);
  if (by_token) {
    for (std::int64_t s = begin + threadIdx.x; s < end; s += blockDim.x) {
      row_of[s] = expert_of[s] >= 0 ? static_cast<std::int32_t>(s) : -1;
      if (slot_of) slot_of[s] = static_cast<std::int32_t>(s);
    }
    return;
  }
  for (int i = threadIdx.x; i < warps * experts; i += blockDim.x) cursors[i] = 0;
  __syncthreads();
  int* const mine = cursors + warp * experts;
  const std::int64_t part = chunk / warps, first = begin + warp * part, last = min(first + part, end);
  for (std::int64_t s = first + lane; s < last; s += 32)
    if (const int e = expert_of[s]; e >= 0) atomicAdd(&mine[e], 1);
  __syncthreads();
  for (int e = threadIdx.x; e < experts; e += blockDim.x) {
    int next = starts[e] + before_block[static_cast<std::int64_t>(e) * gridDim.x + blockIdx.x];
    for (int w = 0; w < warps; ++w) {
      const int count = cursors[w * experts + e];
      cursors[w * experts + e] = next;
      next += count;
    }
  }
  __syncthreads();
  for (std::int64_t s = first; s < last; s += 32) {  // all lanes together: they vote
    const bool within = s + lane < last;
    const int expert = within ? expert_of[s + lane] : -1;
    const bool valid = expert >= 0;  // and not dropped
    const Peers peers(expert);
    const int row = valid ? mine[expert] + peers.rank : 0;
    __syncwarp();  // every lane has read its cursor
    if (valid && peers.rank == 0) mine[expert] += peers.count;
    __syncwarp();  // and sees it moved
    if (within && !valid) row_of[s + lane] = -1;
    if (!valid) continue;
    row_of[s + lane] = row;
    if (slot_of) slot_of[row] = static_cast<std::int32_t>(s + lane);
  }
}

constexpr int kChunks = 32, kChunkSlots = 512;  ///< blocks of the only launch, and the most slots of one
constexpr std::int64_t kFewSlots = kChunks * kChunkSlots;
/// Numbers per expert in shared memory.
constexpr int kNumbers = kChunks + kChunkSlots / 32 + 3;

__global__ void __launch_bounds__(32 * kChunks)
    plan_few_kernel(const std::int32_t* __restrict__ expert_of, int slots, int chunk, int experts,
                    bool by_token, std::int32_t* counts, std::int32_t* offsets, std::int32_t* row_of,
                    std::int32_t* slot_of) {
  extern __shared__ int shared[];
  int* const of_chunks = shared;                              // [kChunks, E]
  int* const of_warps = of_chunks + kChunks * experts;        // [kChunkSlots / 32, E], in this block's chunk
  int* const totals = of_warps + kChunkSlots / 32 * experts;  // [E]
  int* const before = totals + experts;                       // [E] in the chunks before this block's
  int* const starts = before + experts;                       // [E] where experts begin
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = lane_of_warp(),
            block = static_cast<int>(blockIdx.x);
  for (int i = thread; i < (kChunks + kChunkSlots / 32) * experts; i += 32 * kChunks) of_chunks[i] = 0;
  grid_dependency_wait();
  constexpr int kSteps = kChunkSlots / 32;
  int chosen[kSteps];
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    const int s = warp * chunk + 32 * i + lane;
    chosen[i] = 32 * i < chunk && s < slots ? expert_of[s] : -1;
  }
  const int slot = block * chunk + thread;
  const bool mine = thread < chunk && slot < slots;
  const int expert = mine ? expert_of[slot] : -1;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kSteps; ++i)
    if (chosen[i] >= 0) atomicAdd(&of_chunks[warp * experts + chosen[i]], 1);
  const Peers peers(expert);
  if (expert >= 0 && peers.rank == 0) of_warps[warp * experts + expert] = peers.count;
  __syncthreads();
  for (int e = thread; e < experts; e += 32 * kChunks) {
    int sum = 0, until = 0;
#pragma unroll 8
    for (int i = 0; i < kChunks; ++i) {
      if (i == block) until = sum;
      sum += of_chunks[i * experts + e];
    }
    totals[e] = sum, before[e] = until;
    if (block == 0) counts[e] = sum;
  }
  __syncthreads();
  if (warp == 0) sum_totals(totals, experts, starts, offsets);
  __syncthreads();
  if (!mine) return;
  if (expert < 0) {  // dropped
    row_of[slot] = -1;
    if (by_token && slot_of) slot_of[slot] = slot;
    return;
  }
  int row = starts[expert] + before[expert] + peers.rank;
  for (int w = 0; w < warp; ++w) row += of_warps[w * experts + expert];
  if (by_token) row = slot;
  row_of[slot] = row;
  if (slot_of) slot_of[row] = slot;
}

}  // namespace

/// No less than any smaller number of slots needs, so that room for the most is room for all.
std::int64_t plan_scratch(std::int64_t slots, std::int64_t experts) {
  return experts * std::clamp<std::int64_t>(blocks_for(slots, 32 * kWarps), 1, kMaxBlocks);
}

void plan(cudaStream_t stream, const PlanArgs& args, std::int32_t* scratch) {
  const auto slots = static_cast<std::int64_t>(args.expert_of.size()),
             count = static_cast<std::int64_t>(args.counts.size());
  if (count > kMaxExperts)
    throw UsageError(cat("backend cuda plans for at most ", kMaxExperts, " experts, not ", count));
  const int experts = static_cast<int>(count);
  const unsigned words =
      static_cast<unsigned>(sizeof(int)) * static_cast<unsigned>(experts);  // bytes of one number per expert
  const bool by_token = args.order == RowOrder::by_token;
  if (slots <= kFewSlots && kNumbers * count <= kSharedWords) {
    const auto chunk = static_cast<int>(32 * blocks_for(slots, 32 * kChunks));
    launch_with_pdl("plan_few_kernel", stream, {kChunks, 32 * kChunks, kNumbers * words}, plan_few_kernel,
                    args.expert_of.data(), static_cast<int>(slots), chunk, experts, by_token,
                    args.counts.data(), args.offsets.data(), args.row_of.data(), args.slot_of.data());
    return;
  }
  const Cut cut = cut_of(slots, count);
  launch_with_pdl("plan_count_kernel", stream, {grid(cut.blocks), kThreads, words}, plan_count_kernel,
                  args.expert_of.data(), slots, cut.chunk, experts, scratch);
  launch_with_pdl("plan_scan_kernel", stream, {grid(blocks_for(experts, kWarps)), kThreads}, plan_scan_kernel,
                  scratch, cut.blocks, experts, args.counts.data());
  const auto warps = static_cast<unsigned>(cut.warps);
  launch_with_pdl("plan_scatter_kernel", stream, {grid(cut.blocks), 32 * warps, (warps + 1) * words},
                  plan_scatter_kernel, args.expert_of.data(), slots, cut.chunk, experts, scratch,
                  args.counts.data(), by_token, args.offsets.data(), args.row_of.data(), args.slot_of.data());
}

}  // namespace moebench::cuda
