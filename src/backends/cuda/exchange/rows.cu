// SPDX-License-Identifier: Apache-2.0
// Idea: spread copies received and own tokens to the rows of their experts. Backward, scale does the same with score · dy
// and makes dscore on the way. One warp per token or slot.
// Layout: x [T, H]; inbox [P, M, H] at the receiving rank; row_of, score [P, M, K] there, written by push; rows [n, H].
// Moves: spread reads each token that has rows here and writes n·H elements; scale reads n·H outputs besides.
#include "backends/cuda/exchange/rows.cuh"
#include "backends/cuda/exchange/with_unit.cuh"
#include "backends/cuda/runtime/launch.cuh"

namespace moebench::cuda {
namespace {

template <class Unit>
__global__ void __launch_bounds__(kThreads)
    peer_spread_kernel(const __grid_constant__ DevicePeers d, const Unit* __restrict__ x, Unit* rows,
                       std::int64_t units, std::int64_t max_rows, RankRange ranks, std::byte** return_to) {
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
  if (return_to)
    for (int j = lane_of_warp(); j < k; j += 32)
      if (const std::int64_t row = row_of[j]; row >= 0 && row < max_rows)
        return_to[row] = place_by_slot(d, p, t, j, units * static_cast<std::int64_t>(sizeof(Unit)));
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

template <class T, int N, bool kDot>
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
  const float dot =
      scale_row<T, N, kDot>(dy, kDot ? out + row * cols : nullptr, drows + row * cols, score, cols);
  if (kDot && lane_of_warp() == 0) peer_at<float>(d, p, d.g.at.dscore)[t * k + slot - at * k] = dot;
}

}  // namespace

void load_row_kernels() {
  cudaFuncAttributes attributes;
  MB_CUDA(cudaFuncGetAttributes(&attributes, peer_spread_kernel<uint4>));  // one loads the whole module
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
                    static_cast<std::int64_t>(args.rows.row_bytes() / sizeof(Unit)), args.rows.rows, ranks,
                    args.return_to.data());
  });
}

void peer_scale(cudaStream_t stream, const DevicePeers& peers, const PeerScale& args) {
  const RankRange ranks = ranks_of(args.of, peers.g.size);
  const std::int64_t slots = ranks.count * peers.g.max_tokens * peers.g.top_k;
  if (slots == 0 || args.drows.rows == 0) return;
  with_access(
      args.dy.dtype, args.dy.cols, {args.dy.data, args.out.data, args.drows.data}, [&]<class T, int N>() {
        const auto kernel = args.out.data ? peer_scale_kernel<T, N, true> : peer_scale_kernel<T, N, false>;
        launch_with_pdl("peer_scale_kernel", stream, {grid(blocks_for(slots, kWarps)), kThreads}, kernel,
                        peers, args.dy.as<const T>(), args.out.as<const T>(), args.drows.as<T>(),
                        args.dy.cols, args.drows.rows, ranks);
      });
}

}  // namespace moebench::cuda
