// SPDX-License-Identifier: Apache-2.0
// The product of two tiles in TF32, by mma.sync.
#pragma once

#include "backends/cuda/grouped/fp32_tiles.cuh"

namespace moebench::cuda::grouped {

/// tf32: each warp multiplies 64 x 64, columns as Ffma. Operands are rounded to TF32 as they are read: the tensor cores
/// would cut off.
template <Major kMajorA, Major kMajorB>
struct TensorCores {
  using PlaceA = OperandTile<kMajorA, kTileSide + 8>;
  using PlaceB = OperandTile<kMajorB, kTileSide + 8>;
  static constexpr int kWidth = 2;
  const int warp_ = static_cast<int>(threadIdx.x) / 32, lane_ = lane_of_warp();
  const int row_ = warp_ / 2 * 16, col_ = warp_ % 2 * 32;
  float sums_[4][8][4] = {};

  /// Of the eight blocks of 8 columns, the first column of one.
  static __device__ constexpr int block_col(int block) { return block / 4 * 64 + block % 4 * 8; }

  __device__ __forceinline__ void multiply(const float* left, const float* right, int rows) {
    const int live = live_parts(rows, warp_ / 2);
    if (live == 4)
      multiply_parts<4>(left, right);
    else if (live == 3)
      multiply_parts<3>(left, right);
    else if (live == 2)
      multiply_parts<2>(left, right);
    else if (live == 1)
      multiply_parts<1>(left, right);
  }

  template <int kOperands, class Visit>
  __device__ __forceinline__ void for_each(Visit visit) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int j = 0; j < 8 / kOperands; ++j) {
          float value[kOperands][kWidth];
#pragma unroll
          for (int operand = 0; operand < kOperands; ++operand)
#pragma unroll
            for (int n = 0; n < 2; ++n) value[operand][n] = sums_[i][j + 4 * operand][2 * half + n];
          visit(32 * i + 8 * half + row_ + lane_ / 4, col_ + block_col(j) + 2 * (lane_ % 4), value);
        }
  }

 private:
  /// The next eight steps along K are read while these are multiplied.
  template <int kParts>
  __device__ __forceinline__ void multiply_parts(const float* left, const float* right) {
    unsigned a[2][kParts][4], b[2][8][2];
    const auto read = [&](int k) {
#pragma unroll
      for (int i = 0; i < kParts; ++i) read_a(left, 32 * i, k, a[k / 8 % 2][i]);
      read_b(right, k, b[k / 8 % 2]);
    };
    read(0);
#pragma unroll
    for (int k = 0; k < kStageK; k += 8) {
      if (k + 8 < kStageK) read(k + 8);
      auto& columns = b[k / 8 % 2];
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (unsigned& word : columns[j]) word = ptx::to_tf32(__uint_as_float(word));
#pragma unroll
      for (int i = 0; i < kParts; ++i) {
        auto& rows = a[k / 8 % 2][i];
#pragma unroll
        for (unsigned& word : rows) word = ptx::to_tf32(__uint_as_float(word));
#pragma unroll
        for (int j = 0; j < 8; ++j) ptx::mma_m16n8k8_tf32(sums_[i][j], rows, columns[j][0], columns[j][1]);
      }
    }
  }

  static __device__ __forceinline__ unsigned word_at(const float* tile, int at) {
    return __float_as_uint(tile[at]);
  }
  /// Of a K-major tile ldmatrix reads four matrices of 8 x 4, which it takes for 8 x 8 of 16 bits.
  __device__ __forceinline__ void read_a(const float* tile, int row, int k, unsigned (&a)[4]) const {
    row += row_;
    if constexpr (kMajorA == Major::k) {
      const int at = PlaceA::at(row + lane_ / 8 % 2 * 8 + lane_ % 8, k + lane_ / 16 * 4);
      ptx::ldmatrix_x4<false>(reinterpret_cast<const uint4*>(tile + at), a);
    } else {
#pragma unroll
      for (int word = 0; word < 4; ++word)
        a[word] = word_at(tile, PlaceA::at(row + word % 2 * 8 + lane_ / 4, k + word / 2 * 4 + lane_ % 4));
    }
  }
  __device__ __forceinline__ void read_b(const float* tile, int k, unsigned (&b)[8][2]) const {
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      if constexpr (kMajorB == Major::k) {
        unsigned words[4];
        const int at = PlaceB::at(col_ + block_col(j) + lane_ / 16 * 8 + lane_ % 8, k + lane_ / 8 % 2 * 4);
        ptx::ldmatrix_x4<false>(reinterpret_cast<const uint4*>(tile + at), words);
        b[j][0] = words[0], b[j][1] = words[1], b[j + 1][0] = words[2], b[j + 1][1] = words[3];
      } else {
#pragma unroll
        for (int word = 0; word < 4; ++word)
          b[j + word / 2][word % 2] = word_at(
              tile, PlaceB::at(col_ + block_col(j + word / 2) + lane_ / 4, k + word % 2 * 4 + lane_ % 4));
      }
    }
  }
};

}  // namespace moebench::cuda::grouped
