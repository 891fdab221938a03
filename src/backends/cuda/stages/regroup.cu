// SPDX-License-Identifier: Apache-2.0
// Idea: rows are bytes; one warp copies one row, in the widest unit that divides it, and finds its segment by
// bisecting `begin`, which is in the cache.
// Layout: messages [m, H] by sender and expert, by_expert [n, H]; begin [segments + 1], place [segments] int32.
// Moves: reads and writes m·H elements.
#include "backends/cuda/exchange/with_unit.cuh"
#include "backends/cuda/runtime/launch.cuh"
#include "backends/cuda/stages/kernels.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda {
namespace {

/// The last i with begin[i] <= row.
__device__ int segment_of(const std::int32_t* __restrict__ begin, int segments, std::int64_t row) {
  int low = 0, high = segments;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (begin[middle] <= row ? low : high) = middle;
  }
  return low;
}

template <class Unit, bool kToMessages>
__global__ void __launch_bounds__(kThreads)
    regroup_kernel(Unit* messages, Unit* by_expert, const std::int32_t* __restrict__ begin,
                   const std::int32_t* __restrict__ place, int segments, std::int64_t rows,
                   std::int64_t units) {
  grid_dependency_wait();
  const std::int64_t row = warp_of_grid();
  if (row >= rows) return;
  const int segment = segment_of(begin, segments, row);
  Unit* const message = messages + row * units;
  Unit* const of_expert = by_expert + (row - begin[segment] + place[segment]) * units;
  const Unit* const from = kToMessages ? of_expert : message;
  Unit* const to = kToMessages ? message : of_expert;
  constexpr int kAtOnce = 8;
  for (std::int64_t u = lane_of_warp(); u < units; u += 32 * kAtOnce) {
    Unit held[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (u + 32 * i < units) held[i] = from[u + 32 * i];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (u + 32 * i < units) to[u + 32 * i] = held[i];
  }
}

}  // namespace

void regroup(cudaStream_t stream, const Regroup& args) {
  if (args.messages.size() == 0) return;
  with_unit(args.messages, args.by_expert, [&]<class Unit>() {
    const auto kernel = args.to_messages ? regroup_kernel<Unit, true> : regroup_kernel<Unit, false>;
    launch_with_pdl("regroup_kernel", stream, {grid(blocks_for(args.messages.rows, kWarps)), kThreads},
                    kernel, args.messages.as<Unit>(), args.by_expert.as<Unit>(), args.begin.data(),
                    args.place.data(), static_cast<int>(args.place.size()), args.messages.rows,
                    static_cast<std::int64_t>(args.messages.row_bytes() / sizeof(Unit)));
  });
}

}  // namespace moebench::cuda
