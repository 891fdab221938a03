// SPDX-License-Identifier: Apache-2.0
// A report's times of one rank, for projections.
#pragma once

#include <string>

#include "project/compute.h"
#include "project/fabric.h"
#include "suite/case.h"

namespace moebench {

/// The cases of a report that are this layer with cold caches: on one rank and evenly routed, whatever their experts,
/// tokens and top-k, or one rank of a job alone (--as-rank), with the same routing. Throws UsageError if none is, if one
/// failed or, where it could be, was not checked, if ranks of the report shared a GPU, or if it is of another GPU than the
/// fabric's; EnvironmentError if it cannot be read.
ComputeTable compute_from(const std::string& path, const Case& layer, const Fabric& fabric);

}  // namespace moebench
