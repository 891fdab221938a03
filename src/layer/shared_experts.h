// SPDX-License-Identifier: Apache-2.0
// The shared experts of a layer: N experts of width F that every token of the rank passes, without a gate. Their sum is
// one network of width N·F, run as the single expert of engine `loop`; each rank holds all of it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "backends/backend.h"
#include "layer/trace.h"
#include "moe/shape.h"

namespace moebench {

/// Stage `shared`, in two pieces per pass: the network runs while the rows of the experts travel, and its result is added
/// once theirs is there. All work goes to the backend's stream; no call waits for the device.
class SharedExperts {
 public:
  /// Of `tokens` tokens. shape.shared_experts is at least 1; `backend` outlives it. Throws UsageError if the backend cannot
  /// run engine `loop` in this format.
  SharedExperts(const Shape& shape, std::int64_t tokens, Backend& backend, bool backward);

  /// x [T, H] → an own buffer, for add_to().
  void forward(const TensorView& x, const ExpertTensors& weights, Trace& trace);
  /// dy [T, H] → the weights' gradients (overwritten), and the gradient of x [T, H] for add_to(). After forward() of the
  /// same x.
  void backward(const TensorView& x, const TensorView& dy, const ExpertTensors& weights,
                const ExpertTensors& gradients, Trace& trace);
  /// to [T, H] += what the last of the two made.
  void add_to(const TensorView& to, Pass pass, Trace& trace);

 private:
  ExpertsForward arguments(const TensorView& x, const ExpertTensors& weights) const;

  Backend& backend_;
  std::unique_ptr<Engine> engine_;
  std::array<std::int64_t, 2> host_offsets_;
  Buffer offsets_;  ///< the same in backend memory
  Tensor rows_;     ///< [T, H]: outputs, then the gradient of the inputs
};

}  // namespace moebench
