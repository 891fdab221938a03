// SPDX-License-Identifier: Apache-2.0
#include "base/dtype.h"

#include "base/text.h"

namespace moebench {
namespace {
constexpr Words<DType, 4> kWords{{{
    {DType::fp32, "fp32"},
    {DType::tf32, "tf32"},
    {DType::bf16, "bf16"},
    {DType::fp16, "fp16"},
}}};
}  // namespace

std::string_view name_of(DType dtype) { return kWords.name(dtype); }
DType parse_dtype(std::string_view word) { return kWords.parse("dtype", word); }

}  // namespace moebench
