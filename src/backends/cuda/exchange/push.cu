// SPDX-License-Identifier: Apache-2.0
// Idea: push reads each token once and stores its row at every other rank that has one of its experts; the last block
// publishes the event and waits for the other ranks. The link is the bottleneck, so that other work is done meanwhile by
// every second block: the first one exchanges the counts of all ranks (counts.cuh); then these blocks copy own tokens to
// the rows of own experts, or backward write score · dy there and sum <dy, output>. Which rows belong to a token is
// stored at the ranks once the counts are known. One warp per token or slot.
// Layout: x [T, H]; inbox [P, M, H] at the receiving rank; row_of, score [P, M, K] there; rows [n, H].
// Moves: reads T·H elements and stores one row per token and rank over the link; own rows: as spread and scale (rows.cu).
#include "backends/cuda/exchange/counts.cuh"
#include "backends/cuda/exchange/launch.cuh"
#include "backends/cuda/exchange/rows.cuh"
#include "backends/cuda/exchange/with_unit.cuh"

namespace moebench::cuda {
namespace {

/// The warps of a grid that do one kind of work: this one's number among them, and how many there are.
struct Crew {
  std::int64_t warp, warps;
};
/// `own`: whether every second block, the first among them, is for own rows; else all blocks push.
template <int kBlockWarps>
__device__ Crew crew_of(bool own) {
  const int step = own ? 2 : 1, block = static_cast<int>(blockIdx.x);
  const std::int64_t blocks = own ? (gridDim.x + (block % 2 == 0 ? 1 : 0)) / 2 : gridDim.x;
  return {std::int64_t{block / step} * kBlockWarps + static_cast<int>(threadIdx.x) / 32,
          blocks * kBlockWarps};
}

/// Stores at every rank which rows there belong to which slots. By all threads of the grid.
template <int kBlockWarps>
__device__ void describe_slots(const DevicePeers& d, const SlotLists& s, const std::int32_t* expert_of,
                               std::int64_t slots, int local) {
  const std::int64_t threads = std::int64_t{gridDim.x} * kBlockWarps * 32;
  for (std::int64_t slot = std::int64_t{blockIdx.x} * kBlockWarps * 32 + threadIdx.x; slot < slots;
       slot += threads) {
    const std::int64_t there = first_token(d, d.g.rank) * d.g.top_k + slot;
    const int e = expert_of[slot];
    const int owner = e < 0 ? -1 : e / local;
    const int row = e < 0 ? -1 : row_there(s, slot, e);
    const float score = s.score[slot];
    for (int p = 0; p < d.g.size; ++p) {
      peer_at<std::int32_t>(d, p, d.g.at.row_of)[there] = owner == p ? row : -1;
      peer_at<float>(d, p, d.g.at.score)[there] = score;
    }
  }
}

/// By the first block: the counts of all ranks; the other blocks see them after wait_for_counts().
template <int kBlockWarps>
__device__ void bring_counts(const DevicePeers& d, const DeviceCounts& counts) {
  extern __shared__ int starts[];
  exchange_counts<32 * kBlockWarps>(d, counts, starts);
  __syncthreads();
  if (threadIdx.x != 0) return;
  __threadfence();
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(d.counted), "r"(1u) : "memory");
}
/// By all threads of a block. All blocks of the grid run at once, so that the first one is not waited for in vain.
__device__ void wait_for_counts(const DevicePeers& d) {
  if (threadIdx.x == 0) {
    std::uint32_t counted = 0;
    while (counted == 0)
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(counted) : "l"(d.counted) : "memory");
  }
  __syncthreads();
}

/// Tokens to the other ranks that have their experts.
template <class Unit>
__device__ void push_rows(const DevicePeers& d, const Unit* __restrict__ x,
                          const std::int32_t* __restrict__ expert_of, std::int64_t tokens, std::int64_t units,
                          const Crew& crew) {
  const int k = static_cast<int>(d.g.top_k), local = static_cast<int>(d.g.experts / d.g.size);
  for (std::int64_t t = crew.warp; t < tokens; t += crew.warps) {
    unsigned ranks = 0;
    for (int j = lane_of_warp(); j < k; j += 32)
      if (const int e = expert_of[t * k + j]; e >= 0) ranks |= 1u << (e / local);
    ranks = __reduce_or_sync(0xFFFFFFFFu, ranks) & ~(1u << d.g.rank);
    if (ranks == 0) continue;
    constexpr int kAtOnce = 8;
    for (std::int64_t u = lane_of_warp(); u < units; u += 32 * kAtOnce) {
      Unit held[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
        if (u + 32 * i < units) held[i] = x[t * units + u + 32 * i];
      for (unsigned left = ranks; left != 0; left &= left - 1) {
        const int p = __ffs(static_cast<int>(left)) - 1;
        Unit* const to = peer_at<Unit>(d, p, d.g.at.inbox) + (first_token(d, d.g.rank) + t) * units + u;
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i)
          if (u + 32 * i < units) to[32 * i] = held[i];
      }
    }
  }
}

/// Own tokens to the rows of own experts, and where these return to. After wait_for_counts().
template <class Unit>
__device__ void copy_own_rows(const DevicePeers& d, const Unit* __restrict__ x,
                              const std::int32_t* __restrict__ expert_of, const SlotLists& slots,
                              std::int64_t tokens, std::int64_t units, const OwnRows& own, const Crew& crew) {
  const int k = static_cast<int>(d.g.top_k), local = static_cast<int>(d.g.experts / d.g.size);
  for (std::int64_t t = crew.warp; t < tokens; t += crew.warps) {
    const auto row_of = [&](int j) {
      const int e = expert_of[t * k + j];
      return e >= 0 && e / local == d.g.rank ? row_there(slots, t * k + j, e) : -1;
    };
    if (own.return_to)
      for (int j = lane_of_warp(); j < k; j += 32)
        if (const std::int64_t row = row_of(j); row >= 0 && row < own.max_rows)
          own.return_to[row] =
              place_by_slot(d, d.g.rank, t, j, units * static_cast<std::int64_t>(sizeof(Unit)));
    copy_to_rows(x + t * units, static_cast<Unit*>(own.rows), units, own.max_rows, k, row_of);
  }
}

template <class Unit, bool kDescribe, int kBlockWarps>
__global__ void __launch_bounds__(32 * kBlockWarps)
    peer_push_kernel(const __grid_constant__ DevicePeers d, PeerEvent event, const Unit* __restrict__ x,
                     const std::int32_t* __restrict__ expert_of, std::int64_t tokens, std::int64_t units,
                     SlotLists slots, DeviceCounts counts, OwnRows own) {
  grid_dependency_wait();
  const bool has_own = kDescribe && own.rows;
  const Crew crew = crew_of<kBlockWarps>(has_own);
  if constexpr (kDescribe)
    if (counts.counts && blockIdx.x == 0) bring_counts<kBlockWarps>(d, counts);
  if (!has_own || blockIdx.x % 2 == 1) push_rows(d, x, expert_of, tokens, units, crew);
  if constexpr (kDescribe) {
    if (counts.counts) wait_for_counts(d);
    if (has_own && blockIdx.x % 2 == 0) copy_own_rows(d, x, expert_of, slots, tokens, units, own, crew);
    describe_slots<kBlockWarps>(d, slots, expert_of, tokens * d.g.top_k,
                                static_cast<int>(d.g.experts / d.g.size));
  }
  meet(d, event);
}

/// dy of every slot of own tokens: score · dy to its row if that is here, and <dy, output> if kDot. One warp per slot.
template <class T, int N, bool kDot>
__device__ void scale_own_rows(const DevicePeers& d, const T* __restrict__ dy,
                               const std::int32_t* __restrict__ expert_of, std::int64_t slots,
                               std::int64_t cols, const OwnRows& own, const Crew& crew) {
  const std::int64_t k = d.g.top_k, first = first_token(d, d.g.rank) * k;
  for (std::int64_t slot = crew.warp; slot < slots; slot += crew.warps) {
    if (expert_of[slot] < 0) continue;
    const std::int64_t row = peer_at<const std::int32_t>(d, d.g.rank, d.g.at.row_of)[first + slot];
    const bool here = row >= 0 && row < own.max_rows;
    if (!here && !kDot) continue;
    const float score = peer_at<const float>(d, d.g.rank, d.g.at.score)[first + slot];
    const T* const output = peer_at<const T>(d, d.g.rank, d.g.at.by_slot) + slot * cols;
    const float dot = scale_row<T, N, kDot>(
        dy + slot / k * cols, output, here ? static_cast<T*>(own.rows) + row * cols : nullptr, score, cols);
    if (kDot && lane_of_warp() == 0) peer_at<float>(d, d.g.rank, d.g.at.dscore)[slot] = dot;
  }
}

template <class T, int N, bool kDot>
__global__ void __launch_bounds__(kThreads)
    peer_push_gradients_kernel(const __grid_constant__ DevicePeers d, const T* __restrict__ dy,
                               const std::int32_t* __restrict__ expert_of, std::int64_t tokens,
                               std::int64_t cols, OwnRows own) {
  grid_dependency_wait();
  const Crew crew = crew_of<kWarps>(true);
  if (blockIdx.x % 2 == 1)
    push_rows(d, reinterpret_cast<const Raw<T, N>*>(dy), expert_of, tokens, cols / N, crew);
  else
    scale_own_rows<T, N, kDot>(d, dy, expert_of, tokens * d.g.top_k, cols, own, crew);
  meet(d, PeerEvent::output_gradients);
}

OwnRows own_rows_of(const PeerPush& args) {
  return {args.own_rows.data, args.return_to.data(), args.own_rows.rows};
}

/// So many that each crew has a block.
std::int64_t items_of_crews(int crews, std::int64_t tokens, int block_warps) {
  return std::max<std::int64_t>(crews * tokens, (crews - 1) * block_warps + 1);
}

void push_gradients(const PeerLaunch& launch, const DevicePeers& peers, const PeerPush& args) {
  with_access(args.x.dtype, args.x.cols, {args.x.data, args.own_rows.data}, [&]<class T, int N>() {
    const auto kernel =
        args.dots ? peer_push_gradients_kernel<T, N, true> : peer_push_gradients_kernel<T, N, false>;
    launch_peer_kernel("peer_push_gradients_kernel", launch, kWarps, items_of_crews(2, args.x.rows, kWarps),
                       0, kernel, peers, args.x.as<const T>(), args.expert_of.data(), args.x.rows,
                       args.x.cols, own_rows_of(args));
  });
}

}  // namespace

void load_push_kernels() {
  cudaFuncAttributes attributes;
  MB_CUDA(cudaFuncGetAttributes(&attributes,
                                peer_push_kernel<uint4, true, kWarps>));  // one loads the whole module
}

void peer_push(const PeerLaunch& launch, const DevicePeers& peers, const PeerPush& args) {
  if (args.event == PeerEvent::output_gradients && (args.own_rows.data || args.dots))
    return push_gradients(launch, peers, args);
  const SlotLists slots{args.row_of.data(), args.offsets.data(), args.first_row.data(), args.score.data()};
  const DeviceCounts counts = args.counts ? device_counts(*args.counts) : DeviceCounts{};
  const int crews = args.own_rows.data ? 2 : 1;
  with_unit(args.x, args.own_rows.data ? args.own_rows : args.x, [&]<class Unit>() {
    with_block_warps(launch, [&]<int kBlockWarps>() {
      const auto kernel = args.event == PeerEvent::rows ? peer_push_kernel<Unit, true, kBlockWarps>
                                                        : peer_push_kernel<Unit, false, kBlockWarps>;
      launch_peer_kernel(
          "peer_push_kernel", launch, kBlockWarps, items_of_crews(crews, args.x.rows, kBlockWarps),
          args.counts ? bytes_of_starts(peers.g) : 0, kernel, peers, args.event, args.x.as<const Unit>(),
          args.expert_of.data(), args.x.rows, static_cast<std::int64_t>(args.x.row_bytes() / sizeof(Unit)),
          slots, counts, own_rows_of(args));
    });
  });
}

}  // namespace moebench::cuda
