// SPDX-License-Identifier: Apache-2.0
// A matrix product per expert, all in one launch, with the sizes read on the device: what the grouped engine
// is made of. Two implementations: Hopper's (sm90.cu: TMA, wgmma) and a portable one (portable.cu: mma.sync).
#pragma once

#include <cstdint>
#include <memory>

#include "backends/cuda/runtime/gpu.h"
#include "base/tensor.h"
#include "moe/shape.h"

namespace moebench::cuda::grouped {

/// R_e = rows [offsets[e], offsets[e + 1]) of a row matrix.
enum class Form {
  forward,     ///< out[R_e] = left[R_e] · right_e, right [e·K, N]
  transposed,  ///< out[R_e] = left[R_e] · right_eᵀ, right [e·N, K]
  gradient,    ///< out_e = left[R_e]ᵀ · right[R_e], out [e·M, N], zero for an expert without rows
};

/// What is done with a product P before it is stored.
enum class After {
  store,          ///< out = P + bias
  activate,       ///< pre = P + bias, out = act(pre); for SwiGLU P is [gate | up]
  differentiate,  ///< P is the gradient of act: out = its gradient through act at `pre`
};

/// All tensors in one 16-bit dtype, dense, row-major.
struct Product {
  Form form;
  TensorView left, right;
  const std::int32_t* offsets;  ///< [experts + 1] in device memory
  std::int64_t experts;
  TensorView out;
  After after = After::store;
  Activation activation = Activation::gelu;
  TensorView bias = {};  ///< [experts, N] or null data; not for `gradient` and `differentiate`
  TensorView pre = {};   ///< written by `activate` unless its data is null, read by `differentiate`
  /// Not null: left lies by token, its row r is row slot_of[r] / top_k. Device memory, [rows of all experts].
  /// Only of SwiGLU's `activate`, by make_sm90_multiplier().
  const std::int32_t* slot_of = nullptr;
  std::int64_t top_k = 1;
  /// Not null, of `differentiate`: [rows, dots_of(N)], what 64 columns add up to of P · act(pre). Only by
  /// make_sm90_multiplier().
  float* dots = nullptr;
};

class Multiplier {
 public:
  virtual ~Multiplier() = default;
  /// Queues the product on the GPU's stream. Never waits for the device.
  virtual void run(const Product& product) = 0;
};

/// Whether make_sm90_multiplier() takes rows of these widths: the copy engine wants strides of 16 bytes.
bool sm90_can(const Gpu& gpu, std::int64_t hidden, std::int64_t ffn);
std::unique_ptr<Multiplier> make_sm90_multiplier(Gpu& gpu);
/// Any width, any GPU from Ampere on; rows whose width is not a multiple of 8 are read element by element.
std::unique_ptr<Multiplier> make_portable_multiplier(Gpu& gpu);

}  // namespace moebench::cuda::grouped
