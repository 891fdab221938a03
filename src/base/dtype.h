// SPDX-License-Identifier: Apache-2.0
// Number formats as one table: how rows and weights are stored and in which mode they are multiplied.
//
// A new format is a row here, its rounding in dtype.cpp, and its names in the libraries: backends/cuda/runtime/formats.h
// (cuBLAS, TMA), with_storage() (kernels), comm/nccl/comm.cpp and comm/mpi/sum.cpp. Each of these is a switch without a
// default, and -Werror=switch refuses to compile one that misses a format.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace moebench {

/// fp32 multiplies without tensor cores; tf32 stores fp32 and multiplies in TF32 mode.
enum class DType { fp32, tf32, bf16, fp16 };

struct FormatInfo {
  DType dtype;
  std::string_view name;          ///< the word a user types and a report holds
  std::size_t bytes;              ///< of one stored element
  double unit_roundoff;           ///< u: relative error of rounding a value to storage
  std::string_view accumulation;  ///< the format of sums
  double error_bound;             ///< largest relative error that a check allows; derived in docs/method.md
};

inline constexpr std::array kFormats{
    FormatInfo{DType::fp32, "fp32", 4, 0x1p-24, "fp32", 1e-5},   // sums of up to 2^14 terms
    FormatInfo{DType::tf32, "tf32", 4, 0x1p-24, "fp32", 2e-3},   // 2^-11 per operand that is multiplied
    FormatInfo{DType::bf16, "bf16", 2, 0x1p-8, "fp32", 1.5e-2},  // u per stored value
    FormatInfo{DType::fp16, "fp16", 2, 0x1p-11, "fp32", 2e-3}};

constexpr const FormatInfo& format_info(DType dtype) { return kFormats[static_cast<std::size_t>(dtype)]; }
static_assert(std::ranges::all_of(kFormats, [](const FormatInfo& f) { return &format_info(f.dtype) == &f; }),
              "kFormats has one row per DType, in the order of the enumeration");

/// Bytes of one stored element.
constexpr std::size_t size_of(DType dtype) { return format_info(dtype).bytes; }

constexpr std::string_view name_of(DType dtype) { return format_info(dtype).name; }

/// The nearest value that storage in `dtype` can hold, ties to even.
float round_to(DType dtype, float value);

/// Throws UsageError naming the valid words.
DType parse_dtype(std::string_view word);

}  // namespace moebench
