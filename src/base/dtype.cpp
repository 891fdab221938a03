// SPDX-License-Identifier: Apache-2.0
#include "base/dtype.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "base/text.h"

namespace moebench {
namespace {
constexpr Words<DType, 4> kWords{{{
    {DType::fp32, "fp32"},
    {DType::tf32, "tf32"},
    {DType::bf16, "bf16"},
    {DType::fp16, "fp16"},
}}};

float round_to_bf16(float value) {
  if (std::isnan(value)) return value;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u);
}
}  // namespace

float round_to(DType dtype, float value) {
  if (dtype == DType::bf16) return round_to_bf16(value);
  if (dtype == DType::fp16) return static_cast<float>(static_cast<_Float16>(value));
  return value;
}

std::string_view name_of(DType dtype) { return kWords.name(dtype); }
DType parse_dtype(std::string_view word) { return kWords.parse("dtype", word); }

}  // namespace moebench
