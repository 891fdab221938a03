// SPDX-License-Identifier: Apache-2.0
// The parameters of one rank: their values, their gradients, their tags.
#pragma once

#include <span>
#include <vector>

#include "backends/backend.h"
#include "moe/parameter.h"
#include "moe/workload.h"

namespace moebench {

/// One parameter: `value` and `gradient` are [count·rows, cols]. The gradient is empty without backward.
struct ParameterTensors {
  ParameterSpec spec;
  Tensor value, gradient;
};

class Parameters {
 public:
  Parameters(const Shape& shape, int rank, Backend& backend, bool gradients);

  /// Fills the values with this rank's share of the workload's weights.
  void load(const Workload& workload, Backend& backend);

  std::span<ParameterTensors> all() { return all_; }
  /// Null data if this layer has no such parameter.
  TensorView value(Parameter id) const;
  TensorView gradient(Parameter id) const;
  ExpertTensors values() const;
  ExpertTensors gradients() const;
  ExpertTensors shared_values() const;
  ExpertTensors shared_gradients() const;

 private:
  std::vector<ParameterTensors> all_;
};

}  // namespace moebench
