// SPDX-License-Identifier: Apache-2.0
// The whole models that the presets' layers belong to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "moe/model.h"

namespace moebench {

/// The presets of which the whole model is known, in their order.
std::vector<std::string> model_names();
/// The layer of the preset of that name, and the rest of its model. Throws UsageError for an unknown name, and for a
/// preset that is a single layer.
Model find_model(std::string_view preset);

}  // namespace moebench
