// SPDX-License-Identifier: Apache-2.0
// Tiles of the operands of fp32.cu in shared memory, and their way there.
#pragma once

#include <cstdint>

#include "backends/cuda/grouped/fixed_tiles.cuh"
#include "backends/cuda/ptx/ampere.cuh"
#include "backends/cuda/ptx/major.h"

namespace moebench::cuda::grouped {

using ptx::Major;

inline constexpr int kBlock = 128, kStageK = 32, kStages = 2;
/// Of rows in a K-major tile: eight of them begin in eight different eighths of the banks.
inline constexpr int kKStride = kStageK + 4;

/// A tile of an operand in shared memory. kMnStride: of rows in an MN-major tile.
template <Major kMajor, int kMnStride>
struct OperandTile {
  static constexpr int kFloats = kMajor == Major::k ? kTileSide * kKStride : kStageK * kMnStride;
  static __device__ constexpr int at(int mn, int k) {
    return kMajor == Major::k ? mn * kKStride + k : k * kMnStride + mn;
  }
};

/// One operand of an expert's product in memory.
template <class Place, Major kMajor, int kOperands, bool kWide>
struct Operand {
  const float* from;
  int stride;  ///< of rows, in elements
  int mn, k;   ///< sizes; with two operands the second begins `mn` columns behind the first

  /// Begins to fill a tile with all that lies from [first_mn, first_k] on, and zeros beyond. By all threads of the block.
  __device__ __forceinline__ void load(float* tile, int first_mn, int first_k) const {
    constexpr int kWidth = kWide ? 4 : 1, kUnits = (kMajor == Major::k ? kStageK : kTileSide) / kWidth,
                  kRows = kMajor == Major::k ? kTileSide : kStageK, kOperandSide = kTileSide / kOperands;
    int thread = static_cast<int>(threadIdx.x);
    asm volatile(
        ""
        : "+r"(thread));  // addresses are worked out again for each tile: the sums need the registers
    const int col = thread % kUnits * kWidth, first_row = thread / kUnits;
#pragma unroll
    for (int r = 0; r < kRows; r += kBlock / kUnits) {
      const int row = first_row + r;
      std::int64_t at;
      bool valid;
      if constexpr (kMajor == Major::k) {
        at = std::int64_t{first_mn + row} * stride + first_k + col;
        valid = first_mn + row < mn && first_k + col < k;
      } else {
        const int side = first_mn + col % kOperandSide;
        at = std::int64_t{first_k + row} * stride + col / kOperandSide * mn + side;
        valid = first_k + row < k && side < mn;
      }
      float* const to = tile + (kMajor == Major::k ? Place::at(row, col) : Place::at(col, row));
      if constexpr (kWide)
        ptx::cp_async(reinterpret_cast<uint4*>(to), from + (valid ? at : 0), valid ? 16 : 0);
      else
        ptx::cp_async_word(to, from + (valid ? at : 0), valid ? 4 : 0);
    }
  }
};

/// Of the 16 rows of a part, parts are dealt to two warps in turns: how many of the four of warp `w` have rows.
__device__ inline int live_parts(int rows, int w) {
  const int parts = (ceil_div(rows, 16) - w + 1) / 2;
  return parts < 4 ? parts : 4;
}

}  // namespace moebench::cuda::grouped
