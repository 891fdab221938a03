// SPDX-License-Identifier: Apache-2.0
// A report's times of one rank, for projections.
#pragma once

#include <string>

#include "moe/shape.h"
#include "project/compute.h"
#include "project/fabric.h"

namespace moebench {

/// The cases of a report that are this layer on one rank, evenly routed and with cold caches, whatever their experts, tokens and top-k. Throws UsageError if none
/// is, if one failed or was not checked, if ranks of the report shared a GPU,
/// or if it is of another GPU than the fabric's; EnvironmentError if it cannot be read.
ComputeTable compute_from(const std::string& path, const Shape& layer, const Fabric& fabric);

}  // namespace moebench
