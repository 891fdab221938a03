// SPDX-License-Identifier: Apache-2.0
// What the kernels that write rows in expert order share.
#pragma once

#include "backends/cuda/exchange/protocol.cuh"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {

/// Pointers of PeerPush that only PeerEvent::rows has.
struct SlotLists {
  const std::int32_t *row_of, *offsets, *first_row;
  const float* score;
};

/// The row of a slot at its expert's rank.
__device__ inline int row_there(const SlotLists& s, std::int64_t slot, int e) {
  return __ldcg(s.first_row + e) + s.row_of[slot] - s.offsets[e];
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

/// Where the rows of own tokens at own experts are written; null: by another kernel.
struct OwnRows {
  void* rows;             // [n, H]
  std::byte** return_to;  // [n] or null: gets the place of each row, see PeerSpread::return_to
  std::int64_t max_rows;
};

/// Where the row of slot j of token t of rank p returns to. `row_bytes`: of a row.
__device__ inline std::byte* place_by_slot(const DevicePeers& d, int p, std::int64_t t, int j,
                                           std::int64_t row_bytes) {
  return peer_at<std::byte>(d, p, d.g.at.by_slot) + (t * d.g.top_k + j) * row_bytes;
}

/// One slot, by one warp: to = score · dy unless `to` is null; returns <dy, output> in every lane if kDot.
template <class T, int N, bool kDot>
__device__ float scale_row(const T* __restrict__ dy, const T* __restrict__ output, T* __restrict__ to,
                           float score, std::int64_t cols) {
  float dot = 0;
  constexpr int kAtOnce = 2;
  for (std::int64_t c = lane_of_warp() * N; c < cols; c += 32 * N * kAtOnce) {
    Raw<T, N> gradient[kAtOnce], out[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (c + 32 * N * i >= cols) break;
      gradient[i] = load<T, N>(dy + c + 32 * N * i);
      if constexpr (kDot) out[i] = load<T, N>(output + c + 32 * N * i);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (c + 32 * N * i >= cols) break;
      float g[N], o[N];
      unpack<T, N>(gradient[i], g);
      if constexpr (kDot) unpack<T, N>(out[i], o);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        if constexpr (kDot) dot += g[n] * o[n];
        g[n] *= score;
      }
      if (to) store<T, N>(to + c + 32 * N * i, g);
    }
  }
  return kDot ? warp_sum(dot) : 0;
}

}  // namespace moebench::cuda
