// SPDX-License-Identifier: Apache-2.0
#include "moe/shape.h"

#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr Words<Activation, 2> kActivations{{{
    {Activation::gelu, "gelu"},
    {Activation::swiglu, "swiglu"},
}}};

void require_positive(std::string_view name, std::int64_t value) {
  if (value < 1) throw UsageError(cat(name, " ", value, " must be at least 1"));
}

/// Tensors are indexed in 64 bits, and their bytes must stay countable.
void require_countable(std::string_view what, std::int64_t a, std::int64_t b, std::int64_t c) {
  std::int64_t elements = 0;
  constexpr std::int64_t kLimit = std::int64_t{1} << 46;  // 2^46 elements: 256 TiB of fp32
  if (__builtin_mul_overflow(a, b, &elements) || __builtin_mul_overflow(elements, c, &elements) ||
      elements > kLimit)
    throw UsageError(cat(what, " ", a, " x ", b, " x ", c, " overflows: at most 2^46 elements"));
}

}  // namespace

std::string_view name_of(Activation activation) { return kActivations.name(activation); }
Activation parse_activation(std::string_view word) { return kActivations.parse("activation", word); }

void validate(const Shape& shape) {
  if (shape.tokens < 0) throw UsageError(cat("tokens ", shape.tokens, " must be at least 0"));
  require_positive("hidden", shape.hidden);
  require_positive("ffn", shape.ffn);
  require_positive("experts", shape.experts);
  require_positive("top_k", shape.top_k);
  require_positive("ranks", shape.ranks);
  require_positive("ep", shape.ep);
  if (shape.top_k > shape.experts)
    throw UsageError(cat("top_k ", shape.top_k, " exceeds experts ", shape.experts));
  if (shape.ep > shape.ranks) throw UsageError(cat("ep ", shape.ep, " exceeds ranks ", shape.ranks));
  if (shape.ranks % shape.ep != 0)
    throw UsageError(cat("ep ", shape.ep, " does not divide ranks ", shape.ranks));
  if (shape.experts % shape.ep != 0)
    throw UsageError(cat("experts ", shape.experts, " cannot be dealt evenly to ep ", shape.ep,
                         " ranks; use a multiple of ", shape.ep));
  require_countable("expert weights", shape.experts, shape.hidden, shape.w1_cols());
  require_countable("tokens", shape.tokens, shape.top_k,
                    shape.hidden > shape.w1_cols() ? shape.hidden : shape.w1_cols());
  // Rows are numbered in 32 bits on every backend; the worst case is every row on one rank.
  constexpr std::int64_t kRowLimit = std::numeric_limits<std::int32_t>::max();
  if (shape.tokens * shape.top_k > kRowLimit)
    throw UsageError(cat("tokens ", shape.tokens, " x top_k ", shape.top_k, " exceeds ", kRowLimit, " rows"));
  if (shape.tokens > kRowLimit / shape.experts)
    throw UsageError(
        cat("tokens ", shape.tokens, " x experts ", shape.experts, " exceeds ", kRowLimit, " logits"));
}

}  // namespace moebench
