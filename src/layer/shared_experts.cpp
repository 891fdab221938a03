// SPDX-License-Identifier: Apache-2.0
#include "layer/shared_experts.h"

#include "base/error.h"
#include "layer/run_stage.h"

namespace moebench {

SharedExperts::SharedExperts(const Shape& shape, std::int64_t tokens, Backend& backend, bool backward)
    : backend_(backend),
      engine_(backend.make_engine("loop", {.hidden = shape.hidden,
                                           .ffn = shape.ffn * shape.shared_experts,
                                           .experts = 1,
                                           .activation = shape.activation,
                                           .bias = shape.bias,
                                           .dtype = shape.dtype,
                                           .backward = backward})),
      host_offsets_{0, tokens},
      offsets_(backend.memory(), 2 * sizeof(std::int32_t)) {
  MB_ASSERT(shape.shared_experts > 0);
  const std::int32_t offsets[] = {0, static_cast<std::int32_t>(tokens)};
  backend.memory().copy_from_host(offsets_.data(), offsets, sizeof offsets);
  engine_->reserve(tokens);
  const ScopedMemoryTag scope(backend.memory(), MemoryTag::activations);
  rows_ = Tensor(backend.memory(), shape.dtype, tokens, shape.hidden);
}

ExpertsForward SharedExperts::arguments(const TensorView& x, const ExpertTensors& weights) const {
  return {.x = x,
          .offsets = {offsets_.as<std::int32_t>(), 2},
          .host_offsets = host_offsets_,
          .weights = weights,
          .out = rows_};
}

void SharedExperts::forward(const TensorView& x, const ExpertTensors& weights, Trace& trace) {
  run_stage(Stage::shared, Pass::forward, trace, [&] { engine_->forward(arguments(x, weights)); });
}

void SharedExperts::backward(const TensorView& x, const TensorView& dy, const ExpertTensors& weights,
                             const ExpertTensors& gradients, Trace& trace) {
  run_stage(Stage::shared, Pass::backward, trace, [&] {
    engine_->backward({.forward = arguments(x, weights), .dout = dy, .dx = rows_, .gradients = gradients});
  });
}

void SharedExperts::add_to(const TensorView& to, Pass pass, Trace& trace) {
  run_stage(Stage::shared, pass, trace, [&] { backend_.add(rows_, to); });
}

}  // namespace moebench
