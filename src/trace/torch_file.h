// SPDX-License-Identifier: Apache-2.0
// One tensor as torch.save writes it, made byte by byte: what torch_tensor.h recognises and torch.load reads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trace/torch_tensor.h"

namespace moebench {

/// The whole file of a contiguous tensor on the CPU, of one or two axes. `name` is the folder inside the archive: torch.save
/// takes the file's name without .pt. Throws UsageError for 4 GB or more, or an axis of 2^31 or more.
std::string torch_file(const std::string& name, TorchType type, const std::vector<std::int64_t>& shape,
                       std::span<const std::byte> elements);

}  // namespace moebench
