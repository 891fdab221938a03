// SPDX-License-Identifier: Apache-2.0
#include "base/dtype.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

float round_to_bf16(float value) {
  if (std::isnan(value)) return value;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u);
}

}  // namespace

float round_to(DType dtype, float value) {
  switch (dtype) {
    case DType::fp32:
    case DType::tf32:
      return value;
    case DType::bf16:
      return round_to_bf16(value);
    case DType::fp16:
      return static_cast<float>(static_cast<_Float16>(value));
  }
  MB_ASSERT(false);
}

DType parse_dtype(std::string_view word) {
  std::vector<std::string> words;
  for (const FormatInfo& format : kFormats) {
    if (format.name == word) return format.dtype;
    words.emplace_back(format.name);
  }
  throw_unknown("dtype", word, words);
}

}  // namespace moebench
