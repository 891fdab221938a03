// SPDX-License-Identifier: Apache-2.0
// The product of two tiles in fp32, by FFMA.
#pragma once

#include "backends/cuda/grouped/fp32_tiles.cuh"

namespace moebench::cuda::grouped {

/// fp32: each thread multiplies 8 x 16. Its columns are 32·n and 64 + 32·n on (n: one of two warps), so that it has gate
/// and up of the same features.
template <Major kMajorA, Major kMajorB>
struct Ffma {
  using PlaceA = OperandTile<kMajorA, kTileSide>;
  using PlaceB = OperandTile<kMajorB, kTileSide>;
  static constexpr int kWidth = kMajorB == Major::k ? 2 : 4;  ///< columns that lie side by side
  const int warp_ = static_cast<int>(threadIdx.x) / 32, lane_ = lane_of_warp();
  float sums_[8][16] = {};

  __device__ int row(int i) const {
    const int lane = lane_ / 4;
    return kMajorA == Major::k ? 32 * (i / 2) + 16 * (warp_ / 2) + 8 * (i % 2) + lane
                               : 64 * (warp_ / 2) + 32 * (i / 4) + 4 * lane + i % 4;
  }
  __device__ int column(int j) const {
    return 64 * (j / 8) + 32 * (warp_ % 2) + 4 * kWidth * (j % 8 / kWidth) + kWidth * (lane_ % 4) +
           j % kWidth;
  }

  /// Adds the product of two tiles, of which the left one has `rows` rows.
  __device__ __forceinline__ void multiply(const float* left, const float* right, int rows) {
    const int live = kMajorA == Major::k ? live_parts(rows, warp_ / 2) : 4;
    if (live == 4)
      multiply_rows<8>(left, right);
    else if (live == 3)
      multiply_rows<6>(left, right);
    else if (live == 2)
      multiply_rows<4>(left, right);
    else if (live == 1)
      multiply_rows<2>(left, right);
  }

  /// visit(row, feature, float (&value)[kOperands][kWidth]) for all results of this thread.
  template <int kOperands, class Visit>
  __device__ __forceinline__ void for_each(Visit visit) {
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < 16 / kOperands; j += kWidth) {
        float value[kOperands][kWidth];
#pragma unroll
        for (int operand = 0; operand < kOperands; ++operand)
#pragma unroll
          for (int n = 0; n < kWidth; ++n) value[operand][n] = sums_[i][8 * operand + j + n];
        visit(row(i), column(j), value);
      }
  }

 private:
  /// FFMA reads at most one register of each bank (even, odd) per cycle, beside the operand that it has from the FFMA
  /// before. The operand that changes from one FFMA to the next must therefore keep its bank for all of K: four columns in
  /// one read do, two steps along K in one read do not.
  static constexpr bool kRowsInner = kMajorA == Major::mn;

  /// Two steps along K of kCount rows or columns of a tile.
  template <class Place, Major kMajor, int kCount, class Index>
  static __device__ __forceinline__ void read(const float* tile, int k, Index index, float (&to)[2][kCount]) {
    if constexpr (kMajor == Major::k) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const float2 pair = *reinterpret_cast<const float2*>(tile + Place::at(index(i), k));
        to[0][i] = pair.x, to[1][i] = pair.y;
      }
    } else {
#pragma unroll
      for (int step = 0; step < 2; ++step)
#pragma unroll
        for (int i = 0; i < kCount; i += 4) {
          const float4 four = *reinterpret_cast<const float4*>(tile + Place::at(index(i), k + step));
          to[step][i] = four.x, to[step][i + 1] = four.y, to[step][i + 2] = four.z, to[step][i + 3] = four.w;
        }
    }
  }

  /// There and back over the inner index, so that where the outer one changes the inner one does not.
  template <int kRows>
  __device__ __forceinline__ void multiply_rows(const float* left, const float* right) {
    constexpr int kInner = kRowsInner ? kRows : 16, kOuter = kRowsInner ? 16 : kRows;
#pragma unroll 4
    for (int k = 0; k < kStageK; k += 2) {
      float a[2][kRows], b[2][16];
      read<PlaceA, kMajorA>(
          left, k, [&](int i) { return row(i); }, a);
      read<PlaceB, kMajorB>(
          right, k, [&](int j) { return column(j); }, b);
#pragma unroll
      for (int step = 0; step < 2; ++step)
#pragma unroll
        for (int outer = 0; outer < kOuter; ++outer)
#pragma unroll
          for (int n = 0; n < kInner; ++n) {
            const int inner = outer % 2 == 0 ? n : kInner - 1 - n;
            const int i = kRowsInner ? inner : outer, j = kRowsInner ? outer : inner;
            sums_[i][j] = fmaf(a[step][i], b[step][j], sums_[i][j]);
          }
    }
  }
};

}  // namespace moebench::cuda::grouped
