// SPDX-License-Identifier: Apache-2.0
// Grouped GEMM: a matrix product per expert, all in one launch, with the number of rows of each expert read on the
// device. The engine `grouped` is made of it. Three implementations: of 16-bit formats Hopper's (sm90.cu: TMA, wgmma) and a
// portable one (portable.cu: mma.sync), and one of fp32 and tf32 (fp32.cu: FFMA, mma.sync).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backends/cuda/runtime/gpu.h"
#include "base/tensor.h"
#include "moe/shape.h"

namespace moebench::cuda::grouped {

/// The GEMM of expert e, with R_e = rows [offsets[e], offsets[e + 1]) of a matrix of rows, or
/// those that begin and end say; [M, K] · [K, N] each.
enum class GemmKind {
  fprop,  ///< out[R_e] = a[R_e] · b_e, weights b [e·K, N]
  dgrad,  ///< out[R_e] = a[R_e] · b_eᵀ, weights b [e·N, K]
  wgrad,  ///< out_e = a[R_e]ᵀ · b[R_e], out [e·M, N], zero for an expert without rows
};

/// What the epilogue computes from a GEMM's result P before it is stored.
enum class EpilogueOp {
  store,          ///< out = P + bias
  activate,       ///< pre = P + bias, out = act(pre); for SwiGLU P is [gate | up]
  differentiate,  ///< P is the gradient of act: out = its gradient through act at `pre`
};

/// All tensors in one dtype, dense, row-major.
struct GroupedGemmArgs {
  GemmKind kind;
  TensorView a, b;
  const std::int32_t* offsets;  ///< [experts + 1] in device memory
  std::int64_t experts;
  TensorView out;
  EpilogueOp epilogue = EpilogueOp::store;
  Activation activation = Activation::gelu;
  TensorView bias = {};  ///< [experts, N] or null data; not for wgrad and `differentiate`
  TensorView pre = {};   ///< written by `activate` unless its data is null, read by `differentiate`
  /// Not null: a is in token order, and row r of the GEMM is row slot_of[r] / top_k of a. Device memory, [rows of all
  /// experts]. Only for SwiGLU's `activate`, by make_sm90_grouped_gemm().
  const std::int32_t* slot_of = nullptr;
  std::int64_t top_k = 1;
  /// Not null, for `differentiate`: [rows, dscore_partials_per_row(N)] fp32, the sums of P · act(pre) over 64 columns
  /// each. Only by make_sm90_grouped_gemm().
  float* dscore_partials = nullptr;
  /// Not null, for fprop and dgrad: [experts] in device memory, R_e = rows [begin[e], end[e]); no other row is written.
  /// Only by make_sm90_grouped_gemm(), like what follows.
  const std::int32_t *begin = nullptr, *end = nullptr;
  /// Not null, for EpilogueOp::store of fprop and dgrad: [rows] in device memory, where row r of `out` is stored instead,
  /// aligned to 16 bytes, perhaps on another GPU. Of `out` only the size counts then.
  std::byte* const* out_rows = nullptr;
  double share = 1;  ///< of the rows of `a` and `out` that begin and end leave, as far as is foreseen
  /// The last blocks of the grid begin late: so many multiprocessors are held by other kernels, for about so long. They
  /// get fewer tiles.
  int spare_units = 0;
  double spare_us = 0;
};

class GroupedGemm {
 public:
  virtual ~GroupedGemm() = default;
  /// Queues the GEMMs on the GPU's stream. Never waits for the device.
  virtual void run(const GroupedGemmArgs& args) = 0;
};

/// Whether make_sm90_grouped_gemm() takes rows of these widths: TMA needs strides that are multiples of 16 bytes.
bool sm90_supports(const Gpu& gpu, std::int64_t hidden, std::int64_t ffn);
std::unique_ptr<GroupedGemm> make_sm90_grouped_gemm(Gpu& gpu);
/// 16-bit formats of any width, on any GPU from Ampere on; rows whose width is not a multiple of 8 are read element by
/// element.
std::unique_ptr<GroupedGemm> make_portable_grouped_gemm(Gpu& gpu);
/// fp32 and tf32 of any width, on any GPU from Ampere on.
std::unique_ptr<GroupedGemm> make_fp32_grouped_gemm(Gpu& gpu);
/// The fastest of these for tensors of `dtype` with rows of these widths.
std::unique_ptr<GroupedGemm> make_grouped_gemm(Gpu& gpu, DType dtype, std::int64_t hidden, std::int64_t ffn);

}  // namespace moebench::cuda::grouped
