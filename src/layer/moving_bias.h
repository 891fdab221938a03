// SPDX-License-Identifier: Apache-2.0
// A bias that moves over routing steps (layer/gates/bias.h). In training it moves between steps, behind the optimiser: no pass of
// the layer has a part in it, so it is worked out before anything is timed, and each step keeps its own.
#pragma once

#include <span>

#include "comm/world.h"
#include "layer/layer.h"

namespace moebench {

/// Runs the gate on the x [T, H] of routing steps 0, 1, … of which the layer has as many biases, and gives each step the bias that
/// the loads of those before have led to, from that of `options` on. After load(). Collective; waits for the device.
void move_bias(Layer& layer, const GateOptions& options, World& world, std::span<const TensorView> inputs);

}  // namespace moebench
