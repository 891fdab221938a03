// SPDX-License-Identifier: Apache-2.0
// What a gate is asked for besides its name and the layer's shape.
#pragma once

#include "moe/capacity.h"

namespace moebench {

struct GateOptions {
  Capacity capacity;

  bool operator==(const GateOptions&) const = default;
};

}  // namespace moebench
