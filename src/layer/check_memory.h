// SPDX-License-Identifier: Apache-2.0
// What checking a layer needs beside the layer, worked out before anything is allocated.
#pragma once

#include "moe/shape.h"

namespace moebench {

struct CheckMemory {
  double device = 0;  ///< bytes of the backend's memory at the most
  double host = 0;    ///< bytes of host memory at the most: what verify(), the oracle and the second way hold
};

/// Of one rank. `full`: all tokens against the oracle; else a sample, and all tokens against a second way if there is
/// one. `threads`: of the oracle.
CheckMemory check_memory(const Shape& shape, bool backward, bool full, bool second_way, int threads);

}  // namespace moebench
