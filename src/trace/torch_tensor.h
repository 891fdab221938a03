// SPDX-License-Identifier: Apache-2.0
// One tensor as torch.save writes it, recognised byte by byte. A pickle is a program; none is run here: the only one that
// is accepted is the fixed sequence of opcodes that stands for a contiguous tensor on the CPU.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trace/byte_source.h"

namespace moebench {

enum class TorchType { int64, int32, float32 };
std::string_view name_of(TorchType type);  // "int64", as a manifest says it

struct TorchTensor {
  TorchType type = TorchType::int64;
  std::vector<std::int64_t> shape;  ///< one or two axes
  std::uint64_t begin = 0;          ///< where the elements are in the file, in C order
  std::uint64_t elements() const;
};

/// Refuses anything else that torch.save can write: dictionaries, views, the format before PyTorch 1.6, other types.
TorchTensor parse_torch_tensor(const ByteSource& source);

}  // namespace moebench
