// SPDX-License-Identifier: Apache-2.0
// What the kernels with one tile of 128 x 128 per block have in common: the GEMM as they see it, and which tile of which
// expert a block computes. Tiles are numbered without knowing the experts' rows: expert e owns the slots of 128 rows from
// offsets[e] / 128 + e on, which are enough and at most one too many; a block bisects the offsets for its expert, and
// returns if its slot lies beyond the expert's rows.
#pragma once

#include <cstdint>

#include "backends/cuda/grouped/grouped_gemm.h"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/ptx/major.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {

inline constexpr int kTileSide = 128;

/// A grouped GEMM as the kernel sees it; the widths of all tensors follow from these.
struct KernelParams {
  const std::int32_t* offsets;
  int experts, slots;
  int size_m;  ///< wgrad: rows of `out` per expert; else M is the rows of each expert
  int size_n;  ///< features: columns of `out`, for SwiGLU's first GEMM those of the gate
  int size_k;  ///< fprop and dgrad; for wgrad K is the rows of each expert
  const void *a, *b, *bias;
  void *out, *pre;
};

/// Weights that a tile multiplies by. SwiGLU's first GEMM has two: 64 columns of the gate and the 64 of the up of the
/// same features.
template <EpilogueOp kEpilogue, Activation kActivation>
inline constexpr int kOperands = (kEpilogue == EpilogueOp::activate) && (kActivation == Activation::swiglu)
                                     ? 2
                                     : 1;

template <GemmKind kGemmKind, EpilogueOp kEpilogue, Activation kActivation>
KernelParams kernel_params(const GroupedGemmArgs& p) {
  const std::int64_t features =
      kGemmKind == GemmKind::dgrad ? p.b.rows / p.experts : p.b.cols / kOperands<kEpilogue, kActivation>;
  const std::int64_t slots = kGemmKind == GemmKind::wgrad ? p.experts * blocks_for(p.a.cols, kTileSide)
                                                          : p.a.rows / kTileSide + p.experts;
  return {.offsets = p.offsets,
          .experts = static_cast<int>(p.experts),
          .slots = static_cast<int>(slots),
          .size_m = static_cast<int>(p.a.cols),
          .size_n = static_cast<int>(features),
          .size_k = static_cast<int>(p.a.cols),
          .a = p.a.data,
          .b = p.b.data,
          .bias = p.bias.data,
          .out = p.out.data,
          .pre = p.pre.data};
}

/// Blocks of the grid.
template <EpilogueOp kEpilogue, Activation kActivation>
unsigned tiles_of(const KernelParams& p) {
  return grid(p.slots * blocks_for(p.size_n, kTileSide / kOperands<kEpilogue, kActivation>));
}

/// Whether rows of all tensors can be read `elements` at a time, which are 16 bytes.
inline bool reads_wide(const GroupedGemmArgs& p, const KernelParams& params, int elements) {
  bool wide = p.a.cols % elements == 0 && p.b.cols % elements == 0 && params.size_n % elements == 0;
  for (const void* data : {params.a, params.b, params.bias}) wide = wide && is_aligned(data);
  return wide && is_aligned(params.out) && is_aligned(params.pre);
}

/// A block's tile: from [row, feature] on in the result of an expert.
struct Tile {
  int expert, begin, count;  ///< the expert's rows: where they begin, how many there are
  int row, rows, feature;    ///< rows: M
};

template <GemmKind kGemmKind>
__device__ inline Tile locate(const KernelParams& params, int slot, int feature) {
  Tile w{.feature = feature};
  if constexpr (kGemmKind == GemmKind::wgrad) {
    const int each = ceil_div(params.size_m, kTileSide);
    w.expert = slot / each, w.row = slot % each * kTileSide;
  } else {
    const int first = params.offsets[0];
    const auto slot_of = [&](int expert) { return (params.offsets[expert] - first) / kTileSide + expert; };
    int low = 0, high = params.experts;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (slot_of(middle) <= slot ? low : high) = middle;
    }
    w.expert = low, w.row = (slot - slot_of(low)) * kTileSide;
  }
  w.begin = params.offsets[w.expert], w.count = params.offsets[w.expert + 1] - w.begin;
  w.rows = kGemmKind == GemmKind::wgrad ? params.size_m : w.count;
  return w;
}

/// What of an operand lies side by side in memory.
template <GemmKind kGemmKind>
inline constexpr ptx::Major kMajorOfA = kGemmKind == GemmKind::wgrad ? ptx::Major::mn : ptx::Major::k;
template <GemmKind kGemmKind>
inline constexpr ptx::Major kMajorOfB = kGemmKind == GemmKind::dgrad ? ptx::Major::k : ptx::Major::mn;

/// Where the operands of a tile's GEMM begin, in elements, how wide their rows are, and how many elements K has.
template <GemmKind kGemmKind, int kOperands>
struct OperandPlaces {
  static constexpr bool kWgrad = kGemmKind == GemmKind::wgrad, kDgrad = kGemmKind == GemmKind::dgrad;
  std::int64_t a, b;
  int a_cols, b_cols, inner;

  __device__ OperandPlaces(const KernelParams& params, const Tile& w)
      : a_cols(kWgrad ? params.size_m : params.size_k),
        b_cols(kDgrad ? params.size_k : kOperands * params.size_n),
        inner(kWgrad ? w.count : params.size_k) {
    a = std::int64_t{w.begin} * a_cols;
    b = (kWgrad ? std::int64_t{w.begin} : std::int64_t{w.expert} * (kDgrad ? params.size_n : params.size_k)) *
        b_cols;
  }
};

/// The first row of `out` that belongs to the tile's expert.
template <GemmKind kGemmKind>
__device__ inline std::int64_t first_row_of_out(const KernelParams& params, const Tile& w) {
  return kGemmKind == GemmKind::wgrad ? std::int64_t{w.expert} * params.size_m : w.begin;
}

}  // namespace moebench::cuda::grouped
