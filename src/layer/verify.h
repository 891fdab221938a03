// SPDX-License-Identifier: Apache-2.0
// Is the layer right? Runs it once on poisoned outputs and compares with the oracle.
#pragma once

#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "comm/world.h"
#include "layer/difference.h"
#include "layer/layer.h"

namespace moebench {

struct VerifyOptions {
  bool full = false;     ///< every token and hidden unit; else an evenly spread sample of both
  bool backward = true;  ///< also backward and sync, and every gradient
  int step = 0;
};

/// Collective over `world`, the ranks of the layer. Loads the weights, runs forward (backward and sync) of one step, and
/// compares this rank's part. The same items on every rank. Uses fresh tensors; leaves the layer's weights loaded.
std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend,
                              ThreadPool& pool, const VerifyOptions& options, Trace& trace);
std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend,
                              ThreadPool& pool, const VerifyOptions& options);

/// Makes each item's error the largest over ranks, NaN above all. Collective; the same items on every rank.
void take_largest(World& world, std::vector<CheckItem>& items);

/// The largest relative error a correct implementation may show in this format: docs/method.md, "Right before fast".
double error_bound(DType dtype);

}  // namespace moebench
