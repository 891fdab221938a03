// SPDX-License-Identifier: Apache-2.0
// The size of a whole MoE model: a stack of layers of which some or all hold experts.
#pragma once

#include <cstdint>
#include <string_view>

namespace moebench {

/// The attention of every layer. gqa: `heads` queries of `head_dim` share `kv_heads` keys and values. mla (DeepSeek-V2,
/// arXiv 2405.04434): queries from a latent of `q_rank`, keys and values from one of `kv_rank`; a head's query and key
/// have `nope_dim` + `rope_dim` columns, its value `value_dim`; the rotary part of the key is shared by all heads.
struct Attention {
  enum class Kind { gqa, mla };
  Kind kind = Kind::gqa;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0, head_dim = 0;                                          ///< gqa
  std::int64_t q_rank = 0, kv_rank = 0, nope_dim = 0, rope_dim = 0, value_dim = 0;  ///< mla

  std::int64_t query_dim() const { return kind == Kind::mla ? nope_dim + rope_dim : head_dim; }
  std::int64_t output_dim() const { return kind == Kind::mla ? value_dim : head_dim; }
};

/// Sizes as published. Norms and biases are not counted: together less than 0.1 % of any of these models.
struct Model {
  std::string_view name;
  std::int64_t hidden = 0, ffn = 0, experts = 0, top_k = 0;
  std::int64_t matrices = 3;      ///< of one expert: 3 for SwiGLU, 2 for GELU
  std::int64_t layers = 0;        ///< of both kinds
  std::int64_t dense_layers = 0;  ///< the first ones, with one network of width dense_ffn instead of experts
  std::int64_t dense_ffn = 0;
  std::int64_t shared_experts = 0;  ///< of width ffn, that every token passes
  std::int64_t vocabulary = 0;
  bool tied = false;  ///< the output head is the embedding table
  Attention attention;
  double published_total_b = 0, published_active_b = 0;  ///< parameters in 10^9, as their authors name them
  std::string_view source;

  std::int64_t moe_layers() const { return layers - dense_layers; }
};

}  // namespace moebench
