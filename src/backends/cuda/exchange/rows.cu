// SPDX-License-Identifier: Apache-2.0
// Idea: push reads each token once and stores its row at every other rank that has one of its experts; the last block
// publishes the event and waits for the other ranks. spread copies received and own tokens to the rows of their
// experts. Backward, scale does the same with score · dy and makes dscore on the way. One warp per token or slot.
// Layout: x [T, H]; inbox [P, M, H] at the receiving rank; row_of, score [P, M, K] there, written by push; rows [n, H].
// Moves: push reads T·H elements and stores one row per token and rank over the link; spread reads each token that has
// rows here and writes n·H; scale reads n·H outputs besides.
#include <algorithm>

#include "backends/cuda/exchange/launch.cuh"
#include "backends/cuda/exchange/protocol.cuh"
#include "backends/cuda/exchange/with_unit.cuh"
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

/// Pointers of PeerPush that only PeerEvent::rows has.
struct SlotLists {
  const std::int32_t *row_of, *offsets, *first_row;
  const float* score;
};

/// The row of a slot at its expert's rank.
__device__ int row_there(const SlotLists& s, std::int64_t slot, int e) {
  return s.first_row[e] + s.row_of[slot] - s.offsets[e];
}

/// Stores at every rank which rows there belong to token t.
__device__ void describe_slots(const DevicePeers& d, const SlotLists& s, const std::int32_t* expert_of,
                               std::int64_t t, int k, int local) {
  for (int j = lane_of_warp(); j < k; j += 32) {
    const std::int64_t slot = t * k + j, there = first_token(d, d.g.rank) * k + slot;
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

template <class Unit, bool kDescribe, int kBlockWarps>
__global__ void __launch_bounds__(32 * kBlockWarps)
    peer_push_kernel(const __grid_constant__ DevicePeers d, PeerEvent event, const Unit* __restrict__ x,
                     const std::int32_t* __restrict__ expert_of, std::int64_t tokens, std::int64_t units,
                     SlotLists slots) {
  grid_dependency_wait();
  const int k = static_cast<int>(d.g.top_k), local = static_cast<int>((d.g.experts / d.g.size));
  for (std::int64_t t = warp_of_grid<kBlockWarps>(); t < tokens; t += std::int64_t{gridDim.x} * kBlockWarps) {
    unsigned ranks = 0;
    for (int j = lane_of_warp(); j < k; j += 32)
      if (const int e = expert_of[t * k + j]; e >= 0) ranks |= 1u << (e / local);
    ranks = __reduce_or_sync(0xFFFFFFFFu, ranks) & ~(1u << d.g.rank);
    if constexpr (kDescribe) describe_slots(d, slots, expert_of, t, k, local);
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
  meet(d, event);
}

/// `from` → rows[row_of(j)] for every j for which that is a row.
template <class Unit, class RowOf>
__device__ void copy_to_rows(const Unit* __restrict__ from, Unit* rows, std::int64_t units,
                             std::int64_t max_rows, int k, RowOf row_of) {
  constexpr int kAtOnce = 8;
  for (std::int64_t u = lane_of_warp(); u < units; u += 32 * kAtOnce) {
    Unit held[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (u + 32 * i < units) held[i] = from[u + 32 * i];
    for (int j = 0; j < k; ++j) {
      const std::int64_t row = row_of(j);
      if (row < 0 || row >= max_rows) continue;
      Unit* const to = rows + row * units + u;
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
        if (u + 32 * i < units) to[32 * i] = held[i];
    }
  }
}

template <class Unit>
__global__ void __launch_bounds__(kThreads)
    peer_spread_kernel(const __grid_constant__ DevicePeers d, const Unit* __restrict__ x, Unit* rows,
                       std::int64_t units, std::int64_t max_rows, RankRange ranks) {
  grid_dependency_wait();
  if (warp_of_grid() >= ranks.count * d.g.max_tokens) return;
  const auto [p, t] = token_at(d, ranks, warp_of_grid());
  if (t >= d.g.tokens[p]) return;
  const std::int64_t at = first_token(d, p) + t;
  const int k = static_cast<int>(d.g.top_k);
  const std::int32_t* const row_of = peer_at<const std::int32_t>(d, d.g.rank, d.g.at.row_of) + at * k;
  bool here = false;
  for (int j = 0; j < k; ++j) here |= row_of[j] >= 0;
  if (!here) return;
  const Unit* const from =
      p == d.g.rank ? x + t * units : peer_at<const Unit>(d, d.g.rank, d.g.at.inbox) + at * units;
  copy_to_rows(from, rows, units, max_rows, k, [=](int j) { return row_of[j]; });
}

/// The same for own tokens, while the push that describes their slots may still run.
template <class Unit>
__global__ void __launch_bounds__(kThreads)
    peer_spread_own_kernel(const __grid_constant__ DevicePeers d, const Unit* __restrict__ x,
                           const std::int32_t* __restrict__ expert_of, SlotLists slots, Unit* rows,
                           std::int64_t tokens, std::int64_t units, std::int64_t max_rows) {
  grid_dependency_wait();
  const std::int64_t t = warp_of_grid();
  if (t >= tokens) return;
  const int k = static_cast<int>(d.g.top_k), local = static_cast<int>(d.g.experts / d.g.size);
  copy_to_rows(x + t * units, rows, units, max_rows, k, [&](int j) {
    const int e = expert_of[t * k + j];
    return e >= 0 && e / local == d.g.rank ? row_there(slots, t * k + j, e) : -1;
  });
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    peer_scale_kernel(const __grid_constant__ DevicePeers d, const T* __restrict__ own_dy,
                      const T* __restrict__ out, T* __restrict__ drows, std::int64_t cols,
                      std::int64_t max_rows, RankRange ranks) {
  grid_dependency_wait();
  const std::int64_t k = d.g.top_k;
  if (warp_of_grid() >= ranks.count * d.g.max_tokens * k) return;
  const auto [p, t] = token_at(d, ranks, warp_of_grid() / k);
  if (t >= d.g.tokens[p]) return;
  const std::int64_t at = first_token(d, p) + t, slot = at * k + warp_of_grid() % k;
  const std::int64_t row = peer_at<const std::int32_t>(d, d.g.rank, d.g.at.row_of)[slot];
  if (row < 0 || row >= max_rows) return;
  const T* const dy =
      p == d.g.rank ? own_dy + t * cols : peer_at<const T>(d, d.g.rank, d.g.at.inbox) + at * cols;
  const float score = peer_at<const float>(d, d.g.rank, d.g.at.score)[slot];
  out += row * cols, drows += row * cols;
  float dot = 0;
  constexpr int kAtOnce = 2;
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kAtOnce) {
    Raw<T, N> gradient[kAtOnce], output[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (c + 32 * N * i >= cols) break;
      gradient[i] = load<T, N>(dy + c + 32 * N * i);
      output[i] = load<T, N>(out + c + 32 * N * i);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (c + 32 * N * i >= cols) break;
      float g[N], o[N];
      unpack<T, N>(gradient[i], g);
      unpack<T, N>(output[i], o);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        dot += g[n] * o[n];
        g[n] *= score;
      }
      store<T, N>(drows + c + 32 * N * i, g);
    }
  }
  dot = warp_sum(dot);
  if (lane_of_warp() == 0) peer_at<float>(d, p, d.g.at.dscore)[t * k + slot - at * k] = dot;
}

}  // namespace

void load_row_kernels() {
  cudaFuncAttributes attributes;
  MB_CUDA(cudaFuncGetAttributes(&attributes,
                                peer_push_kernel<uint4, true, kWarps>));  // one loads the whole module
}

void peer_push(const PeerLaunch& launch, const DevicePeers& peers, const PeerPush& args) {
  const SlotLists slots{args.row_of.data(), args.offsets.data(), args.first_row.data(), args.score.data()};
  with_unit(args.x, args.x, [&]<class Unit>() {
    with_block_warps(launch, [&]<int kBlockWarps>() {
      const auto kernel = args.event == PeerEvent::rows ? peer_push_kernel<Unit, true, kBlockWarps>
                                                        : peer_push_kernel<Unit, false, kBlockWarps>;
      launch_peer_kernel("peer_push_kernel", launch, kBlockWarps, args.x.rows, kernel, peers, args.event,
                         args.x.as<const Unit>(), args.expert_of.data(), args.x.rows,
                         static_cast<std::int64_t>(args.x.row_bytes() / sizeof(Unit)), slots);
    });
  });
}

/// Of own tokens, by this rank's own plan.
void peer_spread_own(cudaStream_t stream, const DevicePeers& peers, const PeerSpread& args) {
  const SlotLists slots{args.row_of.data(), args.offsets.data(), args.first_row.data(), nullptr};
  if (args.x.rows == 0 || args.rows.rows == 0) return;
  with_unit(args.x, args.rows, [&]<class Unit>() {
    launch_with_pdl("peer_spread_own_kernel", stream, {grid(blocks_for(args.x.rows, kWarps)), kThreads},
                    peer_spread_own_kernel<Unit>, peers, args.x.as<const Unit>(), args.expert_of.data(),
                    slots, args.rows.as<Unit>(), args.x.rows,
                    static_cast<std::int64_t>(args.x.row_bytes() / sizeof(Unit)), args.rows.rows);
  });
}

void peer_spread(cudaStream_t stream, const DevicePeers& peers, const PeerSpread& args) {
  if (args.of == PeerTokens::own) return peer_spread_own(stream, peers, args);
  const RankRange ranks = ranks_of(args.of, peers.g.size);
  const std::int64_t tokens = ranks.count * peers.g.max_tokens;
  if (tokens == 0 || args.rows.rows == 0) return;
  with_unit(args.x, args.rows, [&]<class Unit>() {
    launch_with_pdl("peer_spread_kernel", stream, {grid(blocks_for(tokens, kWarps)), kThreads},
                    peer_spread_kernel<Unit>, peers, args.x.as<const Unit>(), args.rows.as<Unit>(),
                    static_cast<std::int64_t>(args.rows.row_bytes() / sizeof(Unit)), args.rows.rows, ranks);
  });
}

void peer_scale(cudaStream_t stream, const DevicePeers& peers, const PeerScale& args) {
  const RankRange ranks = ranks_of(args.of, peers.g.size);
  const std::int64_t slots = ranks.count * peers.g.max_tokens * peers.g.top_k;
  if (slots == 0 || args.drows.rows == 0) return;
  with_access(args.dy.dtype, args.dy.cols, {args.dy.data, args.out.data, args.drows.data},
              [&]<class T, int N>() {
                launch_with_pdl("peer_scale_kernel", stream, {grid(blocks_for(slots, kWarps)), kThreads},
                                peer_scale_kernel<T, N>, peers, args.dy.as<const T>(), args.out.as<const T>(),
                                args.drows.as<T>(), args.dy.cols, args.drows.rows, ranks);
              });
}

}  // namespace moebench::cuda
