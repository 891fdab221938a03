// SPDX-License-Identifier: Apache-2.0
// The size of one MoE layer and how it is spread over ranks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/dtype.h"

namespace moebench {

/// gelu: two matrices per expert and GELU with erf, as in the paper (16-bit formats of engine grouped approximate it:
/// backends/cuda/stages/activation.cuh). swiglu: three matrices, silu(x·A) ⊙ (x·B).
enum class Activation { gelu, swiglu };

std::string_view name_of(Activation activation);
Activation parse_activation(std::string_view word);

/// T, H, F, E, K, R of one layer. Plain data; `validate` says whether it can exist.
struct Shape {
  std::int64_t tokens = 0;   ///< T: over all ranks
  std::int64_t hidden = 0;   ///< H: width of a token, d_m in the paper
  std::int64_t ffn = 0;      ///< F: width inside an expert, d_h in the paper
  std::int64_t experts = 0;  ///< E: over one expert-parallel group
  std::int64_t top_k = 1;    ///< K: experts per token
  int ranks = 1;             ///< R
  int ep = 1;                ///< expert-parallel size: ranks that share the E experts; divides R
  Activation activation = Activation::gelu;
  bool bias = false;
  DType dtype = DType::fp32;
  /// Places for the experts of a token where their number varies, a place without one being −1; 0: K, all taken. Then K is how
  /// many a token has on average.
  std::int64_t slots = 0;
  std::int64_t shared_experts =
      0;  ///< N: that every token passes, without a gate; each rank holds all of them

  bool fp32_router = false;  ///< the gate's weights, and its products, are fp32 whatever dtype is

  DType router_dtype() const { return fp32_router ? DType::fp32 : dtype; }
  std::int64_t experts_per_rank() const { return experts / ep; }
  std::int64_t slots_per_token() const { return slots > 0 ? slots : top_k; }
  /// Columns of an expert's first matrix: F, or 2F for SwiGLU ([gate | up]).
  std::int64_t w1_cols() const { return activation == Activation::swiglu ? 2 * ffn : ffn; }
  /// Tokens are dealt in order, as evenly as possible: rank r holds [first_token(r), first_token(r+1)).
  std::int64_t first_token(int rank) const { return tokens * rank / ranks; }
  std::int64_t tokens_of(int rank) const { return first_token(rank + 1) - first_token(rank); }
  /// Rank r owns experts [first_expert(r), first_expert(r) + experts_per_rank()).
  std::int64_t first_expert(int rank) const { return (rank % ep) * experts_per_rank(); }

  bool operator==(const Shape&) const = default;
};

/// The shared experts of a layer, at least one, as a layer of its own: one expert of width N·F that every token takes,
/// the same on every rank.
Shape shared_shape(const Shape& shape);

/// Why there can be no such layer, with what was given and what is valid: "top_k 9 exceeds experts 8"; empty if there
/// can. Also refuses sizes whose row indices or byte counts would overflow.
std::string why_not(const Shape& shape);
/// Throws UsageError with what why_not() says.
void validate(const Shape& shape);

}  // namespace moebench
