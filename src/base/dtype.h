// SPDX-License-Identifier: Apache-2.0
// Number formats: how rows and weights are stored and in which mode they are multiplied.
#pragma once

#include <cstddef>
#include <string_view>

namespace moebench {

/// fp32 multiplies without tensor cores; tf32 stores fp32 and multiplies in TF32 mode.
/// All four accumulate in fp32.
enum class DType { fp32, tf32, bf16, fp16 };

/// Bytes of one stored element.
constexpr std::size_t size_of(DType dtype) { return dtype == DType::fp32 || dtype == DType::tf32 ? 4 : 2; }

/// The nearest value that storage in `dtype` can hold, ties to even.
float round_to(DType dtype, float value);

/// The word a user types and a report holds.
std::string_view name_of(DType dtype);

/// Throws UsageError naming the valid words.
DType parse_dtype(std::string_view word);

}  // namespace moebench
