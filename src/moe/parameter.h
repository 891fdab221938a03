// SPDX-License-Identifier: Apache-2.0
// The layer's parameters and, for each, the tag that says where its gradient is synchronised.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "moe/shape.h"

namespace moebench {

/// The paper's heterogeneity-aware tags (section 3.2): the ranks that hold a copy, over which the gradient is summed.
enum class Tag {
  world,          ///< every rank: all-reduced over all (the gate, shared experts)
  data_parallel,  ///< the same expert-parallel position of every group: all-reduced there
  none,           ///< one rank only: never synchronised
};

enum class Parameter { gate, w1, b1, w2, b2, shared_w1, shared_b1, shared_w2, shared_b2 };

/// One parameter as one rank holds it: a block of `count` matrices [rows, cols], row-major, dense.
struct ParameterSpec {
  Parameter id;
  std::string_view name;  ///< "gate", "w1", …: the word in records and checks
  Tag tag;
  std::int64_t count;  ///< 1, or this rank's experts
  DType dtype;         ///< the shape's, or its router's
  std::int64_t rows, cols;
  std::int64_t first_element;  ///< index of its first element in the global tensor [E·rows, cols]

  std::int64_t elements() const { return count * rows * cols; }
};

std::string_view name_of(Tag tag);
std::string_view name_of(Parameter parameter);

/// What `rank` holds of a layer of this shape: gate [H, E], w1 [e, H, F or 2F], b1 [e, F or 2F],
/// w2 [e, F, H], b2 [e, H]; biases only with `shape.bias`. With N shared experts also theirs: one matrix each, F being N·F.
std::vector<ParameterSpec> parameters_of(const Shape& shape, int rank);

}  // namespace moebench
