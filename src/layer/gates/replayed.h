// SPDX-License-Identifier: Apache-2.0
// A gate whose choice is replaced by a given one: the gate runs, and is timed, as it is; then its experts and scores are
// overwritten on the device by what was prepared for the step.
//
// The scores are the gate's own formula on its own logits, at the given experts: for `topk` the softmax of these K logits.
// Logits depend on input and weights alone, and neither changes between iterations, so they are made once, in double
// precision from the device's logits. Backward is the gate's: the gradient goes to the logits of the experts that ran.
#pragma once

#include <vector>

#include "layer/gates/gate.h"

namespace moebench {

class ReplayedGate final : public Gate {
 public:
  ReplayedGate(const GateArgs& args, std::unique_ptr<Gate> inner);

  const GateDefinition& definition() const override { return inner_->definition(); }
  /// Before forward(): the step that was prepared for it.
  void begin_step(int step) override { step_ = static_cast<std::size_t>(step); }
  void forward(const TensorView& x, const TensorView& weight, const Routing& routing) override;
  void backward(const TensorView& x, const TensorView& weight, const Routing& routing, const TensorView& dx,
                const TensorView& dweight) override;

  /// Keeps what is replayed in `step`: `experts` [T, K] on the host, all different in a row. Steps come in order from 0.
  /// Runs the gate once on the step's x, and waits for it. `routing` is scratch.
  void prepare(int step, const TensorView& x, const TensorView& weight, const Routing& routing,
               std::span<const std::int32_t> experts);

 private:
  struct Step {
    Buffer experts, scores;  ///< [T, K] each
  };

  Backend& backend_;
  std::int64_t experts_, top_k_;
  std::unique_ptr<Gate> inner_;
  std::vector<Step> steps_;
  std::size_t step_ = 0;
};

}  // namespace moebench
