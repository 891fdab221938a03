// SPDX-License-Identifier: Apache-2.0
#include "layer/parameters.h"

namespace moebench {

Parameters::Parameters(const Shape& shape, int rank, Backend& backend, bool gradients) {
  for (const ParameterSpec& spec : parameters_of(shape, rank)) {
    const auto make = [&](MemoryTag tag) {
      const ScopedMemoryTag scope(backend.memory(), tag);
      return Tensor(backend.memory(), spec.dtype, spec.count * spec.rows, spec.cols);
    };
    all_.push_back({spec, make(MemoryTag::weights), gradients ? make(MemoryTag::gradients) : Tensor()});
  }
}

void Parameters::load(const Workload& workload, Backend& backend) {
  for (ParameterTensors& parameter : all_)
    backend.fill(parameter.value, workload.field(parameter.spec.id), parameter.spec.first_element);
}

TensorView Parameters::value(Parameter id) const {
  for (const ParameterTensors& parameter : all_)
    if (parameter.spec.id == id) return parameter.value;
  return {};
}

TensorView Parameters::gradient(Parameter id) const {
  for (const ParameterTensors& parameter : all_)
    if (parameter.spec.id == id) return parameter.gradient;
  return {};
}

ExpertTensors Parameters::values() const {
  return {value(Parameter::w1), value(Parameter::b1), value(Parameter::w2), value(Parameter::b2)};
}

ExpertTensors Parameters::gradients() const {
  return {gradient(Parameter::w1), gradient(Parameter::b1), gradient(Parameter::w2), gradient(Parameter::b2)};
}

ExpertTensors Parameters::shared_values() const {
  return {value(Parameter::shared_w1), value(Parameter::shared_b1), value(Parameter::shared_w2),
          value(Parameter::shared_b2)};
}

ExpertTensors Parameters::shared_gradients() const {
  return {gradient(Parameter::shared_w1), gradient(Parameter::shared_b1), gradient(Parameter::shared_w2),
          gradient(Parameter::shared_b2)};
}

}  // namespace moebench
