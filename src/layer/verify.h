// SPDX-License-Identifier: Apache-2.0
// Is the layer right? Runs it once on poisoned outputs and compares with the oracle.
#pragma once

#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "comm/world.h"
#include "layer/layer.h"

namespace moebench {

/// One comparison: a relative Frobenius norm |out - oracle| / |oracle|, the largest over ranks, and its bound.
struct CheckItem {
  std::string name;  ///< gate, score, y, dscore, dx, dgate, dw1, db1, dw2, db2
  double error = 0;  ///< NaN if anything compared was not a number
  double bound = 0;
  bool passed() const { return error <= bound; }  // false for NaN
};

struct VerifyOptions {
  bool full = false;     ///< every token and hidden unit; else an evenly spread sample of both
  bool backward = true;  ///< also backward and sync, and every gradient
  int step = 0;
};

/// Collective over `world`, the ranks of the layer. Loads the weights, runs forward (backward and sync) of one step, and
/// compares this rank's part. The same items on every rank. Uses fresh tensors; leaves the layer's weights loaded.
std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend, ThreadPool& pool,
                              const VerifyOptions& options, Trace& trace);
std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend, ThreadPool& pool,
                              const VerifyOptions& options);

/// The largest relative error a correct implementation may show in this format: docs/method.md, "Right before fast".
double error_bound(DType dtype);

}  // namespace moebench
