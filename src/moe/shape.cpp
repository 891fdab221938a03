// SPDX-License-Identifier: Apache-2.0
#include "moe/shape.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr Words<Activation, 2> kActivations{{{
    {Activation::gelu, "gelu"},
    {Activation::swiglu, "swiglu"},
}}};

/// Tensors are indexed in 64 bits, and their bytes must stay countable.
std::string why_not_countable(std::string_view what, std::int64_t a, std::int64_t b, std::int64_t c) {
  std::int64_t elements = 0;
  constexpr std::int64_t kLimit = std::int64_t{1} << 46;  // 2^46 elements: 256 TiB of fp32
  if (!__builtin_mul_overflow(a, b, &elements) && !__builtin_mul_overflow(elements, c, &elements) &&
      elements <= kLimit)
    return {};
  return cat(what, " ", a, " x ", b, " x ", c, " overflows: at most 2^46 elements");
}

std::string why_not_dealt(const Shape& shape) {
  if (shape.top_k > shape.experts) return cat("top_k ", shape.top_k, " exceeds experts ", shape.experts);
  if (shape.ep > shape.ranks) return cat("ep ", shape.ep, " exceeds ranks ", shape.ranks);
  if (shape.ranks % shape.ep != 0) return cat("ep ", shape.ep, " does not divide ranks ", shape.ranks);
  if (shape.experts % shape.ep != 0)
    return cat("experts ", shape.experts, " cannot be dealt evenly to ep ", shape.ep,
               " ranks; use a multiple of ", shape.ep);
  return {};
}

std::string why_not_counted(const Shape& shape) {
  if (std::string why = why_not_countable("expert weights", shape.experts, shape.hidden, shape.w1_cols());
      !why.empty())
    return why;
  if (shape.shared_experts > 0)
    if (std::string why =
            why_not_countable("shared weights", shape.shared_experts, shape.hidden, shape.w1_cols());
        !why.empty())
      return why;
  if (std::string why =
          why_not_countable("tokens", shape.tokens, shape.top_k, std::max(shape.hidden, shape.w1_cols()));
      !why.empty())
    return why;
  // Rows are numbered in 32 bits on every backend; the worst case is every row on one rank.
  constexpr std::int64_t kRowLimit = std::numeric_limits<std::int32_t>::max();
  if (shape.tokens * shape.top_k > kRowLimit)
    return cat("tokens ", shape.tokens, " x top_k ", shape.top_k, " exceeds ", kRowLimit, " rows");
  if (shape.tokens > kRowLimit / shape.experts)
    return cat("tokens ", shape.tokens, " x experts ", shape.experts, " exceeds ", kRowLimit, " logits");
  return {};
}

}  // namespace

std::string_view name_of(Activation activation) { return kActivations.name(activation); }
Activation parse_activation(std::string_view word) { return kActivations.parse("activation", word); }

Shape shared_shape(const Shape& shape) {
  Shape shared = shape;
  shared.ffn *= shape.shared_experts;
  shared.experts = shared.top_k = 1;
  shared.ep = 1;
  shared.slots = shared.shared_experts = 0;
  return shared;
}

std::string why_not(const Shape& shape) {
  if (shape.tokens < 0) return cat("tokens ", shape.tokens, " must be at least 0");
  const std::pair<std::string_view, std::int64_t> sizes[] = {
      {"hidden", shape.hidden}, {"ffn", shape.ffn},     {"experts", shape.experts},
      {"top_k", shape.top_k},   {"ranks", shape.ranks}, {"ep", shape.ep}};
  for (const auto& [name, value] : sizes)
    if (value < 1) return cat(name, " ", value, " must be at least 1");
  if (shape.shared_experts < 0) return cat("shared_experts ", shape.shared_experts, " must be at least 0");
  if (std::string why = why_not_dealt(shape); !why.empty()) return why;
  return why_not_counted(shape);
}

void validate(const Shape& shape) {
  if (const std::string why = why_not(shape); !why.empty()) throw UsageError(why);
}

}  // namespace moebench
