// SPDX-License-Identifier: Apache-2.0
// The head of a NumPy array file (NEP 1): versions 1 to 3, C order, little endian, whole or real numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trace/byte_source.h"

namespace moebench {

struct NpyArray {
  std::string type;                 ///< "<i4", "<i8", "<f4", "<f8", "|u1", "<u2"
  std::vector<std::int64_t> shape;  ///< the product fits what the file holds
  std::uint64_t begin = 0;          ///< where the elements are
  std::uint64_t element_bytes() const { return static_cast<std::uint64_t>(type[2] - '0'); }
};

/// Refuses what it cannot hold.
NpyArray parse_npy(const ByteSource& source);
/// `count` elements from `first` on, whatever their type.
std::vector<double> npy_values(const ByteSource& source, const NpyArray& array, std::uint64_t first,
                               std::uint64_t count);
/// The head of a file of this type and shape, "<i4" and so on; the elements follow it.
std::string npy_head(const std::string& type, const std::vector<std::int64_t>& shape);

}  // namespace moebench
