// SPDX-License-Identifier: Apache-2.0
#include "layer/moving_bias.h"

#include "layer/gates/bias.h"

namespace moebench {

void move_bias(Layer& layer, const GateOptions& options, World& world, std::span<const TensorView> inputs) {
  std::vector<float> bias;
  int step = 0;
  for (const TensorView& x : inputs) {
    for (std::size_t e = bias.size(); e < static_cast<std::size_t>(layer.experts()); ++e)
      bias.push_back(options.bias_field().at(e));
    const auto mine = layer.count_choices(step++, x, bias);
    const auto all = gather_all(world, mine);
    std::vector<std::int64_t> choices(mine.size());
    for (std::size_t i = 0; i < all.size(); ++i) choices[i % mine.size()] += all[i];
    move_bias(bias, choices, options.bias_update);
  }
}

}  // namespace moebench
