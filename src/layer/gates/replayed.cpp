// SPDX-License-Identifier: Apache-2.0
#include "layer/gates/replayed.h"

#include <algorithm>

#include "base/error.h"

namespace moebench {

ReplayedGate::ReplayedGate(const GateArgs& args, std::unique_ptr<Gate> inner)
    : backend_(args.backend),
      experts_(args.shape.experts),
      top_k_(args.shape.top_k),
      inner_(std::move(inner)) {}

void ReplayedGate::prepare(int step, const TensorView& x, const TensorView& weight, const Routing& routing,
                           std::span<const std::int32_t> experts) {
  MB_ASSERT(step == std::ssize(steps_) && experts.size() == routing.chosen.size());
  inner_->forward(x, weight, routing);
  Memory& memory = backend_.memory();
  std::vector<float> logits(routing.logits.size()), scores(experts.size());
  memory.copy_to_host(logits.data(), routing.logits.data(), routing.logits.size_bytes());
  std::vector<double> of_token(static_cast<std::size_t>(experts_));
  for (std::int64_t t = 0; t < x.rows; ++t) {
    std::copy_n(logits.begin() + t * experts_, experts_, of_token.begin());
    const auto exact = definition().scores(
        of_token, experts.subspan(static_cast<std::size_t>(t * top_k_), static_cast<std::size_t>(top_k_)));
    std::copy(exact.begin(), exact.end(), scores.begin() + t * top_k_);
  }
  Step kept{Buffer(memory, experts.size_bytes()), Buffer(memory, scores.size() * sizeof(float))};
  memory.copy_from_host(kept.experts.data(), experts.data(), experts.size_bytes());
  memory.copy_from_host(kept.scores.data(), scores.data(), scores.size() * sizeof(float));
  steps_.push_back(std::move(kept));
}

void ReplayedGate::forward(const TensorView& x, const TensorView& weight, const Routing& routing) {
  inner_->forward(x, weight, routing);
  MB_ASSERT(step_ < steps_.size());
  Memory& memory = backend_.memory();
  memory.queue_copy(routing.chosen.data(), steps_[step_].experts.data(), routing.chosen.size_bytes());
  memory.queue_copy(routing.score.data(), steps_[step_].scores.data(), routing.score.size_bytes());
}

void ReplayedGate::backward(const TensorView& x, const TensorView& weight, const Routing& routing,
                            const TensorView& dx, const TensorView& dweight) {
  inner_->backward(x, weight, routing, dx, dweight);
}

}  // namespace moebench
