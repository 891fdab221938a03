// SPDX-License-Identifier: Apache-2.0
// The gradients of experts' parameters, compared hidden unit by hidden unit: a unit is a column of W1 (SwiGLU: two),
// a row of W2 and an element of b1.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "base/thread_pool.h"
#include "layer/oracle.h"
#include "layer/row_errors.h"
#include "moe/shape.h"

namespace moebench {

/// The gradients of one expert's parameters, in the order of the layer's tensors; b1 and b2 are empty without biases.
struct ExpertGradients {
  std::vector<float> w1, b1, w2, b2;  ///< [H, W1], [W1], [F, H], [H]
};

/// Of expert e of tensors that stack the gradients of experts of `shape`. Waits for the device.
ExpertGradients download_gradients(Backend& backend, const ExpertTensors& gradients, const Shape& shape,
                                   std::int64_t e);

/// A hash of all bits, to compare ranks by.
std::uint64_t hash_of(const ExpertGradients& gradients);

/// What the oracle says of some hidden units of one expert.
struct OracleGradients {
  std::vector<OracleUnit> units;
  std::vector<double> db2;  ///< empty without biases
  double db2_terms = 0;
};

/// The worst unit of any expert.
struct GradientErrors {
  explicit GradientErrors(const Shape& shape);

  /// Against the oracle, for these units.
  void add(std::int64_t expert, const ExpertGradients& out, std::span<const std::int64_t> units,
           const OracleGradients& expected);
  /// Against another way, for all units. What an expert's units are on average stands for the norm of their terms.
  void add(std::int64_t expert, const ExpertGradients& out, const ExpertGradients& expected,
           ThreadPool& pool);
  void merge_into(CheckItem& item) const;
  /// Appends items that are called `prefix`, the parameter's name and `suffix`.
  void append_to(std::vector<CheckItem>& items, std::string_view prefix, std::string_view suffix,
                 double bound) const;

  Shape shape;
  RowErrors w1, b1, w2, b2;
};

}  // namespace moebench
