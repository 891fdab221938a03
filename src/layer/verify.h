// SPDX-License-Identifier: Apache-2.0
// Is the layer right? Runs it once on poisoned outputs and compares with the oracle.
#pragma once

#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "comm/world.h"
#include "layer/layer.h"
#include "layer/relative_error.h"

namespace moebench {

struct VerifyOptions {
  bool full = false;  ///< the oracle on every token and hidden unit; else on an evenly spread sample of both
  bool backward = true;  ///< also backward and sync, and every gradient
  int step = 0;
  /// The layer's engine: then every row is also held against a second way (layer/second_way.h). Empty: it is not.
  std::string second_way_to = {};
  bool as_it_is = false;  ///< do not load the weights first: those that timed iterations left are looked at
  TensorView x = {}, dy = {};  ///< of the step, this rank's tokens; null: fresh ones are made
};

/// Collective over `world`, the ranks of the layer. Runs forward (backward and sync) of one step, and compares this
/// rank's part. The same items on every rank. Outputs are fresh tensors. Leaves the layer's weights loaded.
std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend,
                              ThreadPool& pool, const VerifyOptions& options, Trace& trace);
std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend,
                              ThreadPool& pool, const VerifyOptions& options);

/// Makes each item's error the largest over ranks, NaN above all. Collective; the same items on every rank.
void all_reduce_max(World& world, std::vector<CheckItem>& items);

/// The largest relative error a correct implementation may show in this format: docs/method.md, "Right before fast".
double error_bound(DType dtype);

}  // namespace moebench
