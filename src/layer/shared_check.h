// SPDX-License-Identifier: Apache-2.0
// The shared experts' part of a verification: their weights' gradients, and what they add to the second way. Their part of
// y and dx is in what the oracle says of tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layer/gradient_rows.h"
#include "layer/layer.h"
#include "layer/second_way.h"
#include "layer/verify.h"

namespace moebench {

/// All referenced objects outlive it.
class SharedCheck {
 public:
  /// `oracle`: of the layer, with shared experts.
  SharedCheck(Layer& layer, const Workload& workload, const Oracle& oracle, World& world, Backend& backend,
              ThreadPool& pool, const VerifyOptions& options);

  /// This rank's gradients against the oracle; they are sums over the tokens of all ranks.
  void compare_gradients(std::vector<CheckItem>& items);
  /// Collective. Runs the shared experts in an engine other than `loop`, adds y and dx to `results`, and compares the
  /// gradients: the layer's with its own in `items`, its own with the oracle in `second`. Returns why there is no second way,
  /// the same on every rank.
  std::string add_second_way(SecondResults& results, std::vector<CheckItem>& items, CheckItem& second);

 private:
  ExpertGradients gradients() const;

  Layer& layer_;
  Workload workload_;  ///< of the shared experts
  Shape shape_;        ///< of them
  const Oracle& oracle_;
  World& world_;
  Backend& backend_;
  ThreadPool& pool_;
  VerifyOptions options_;
  std::vector<std::int64_t> units_;
  OracleGradients expected_;  ///< of units_
};

}  // namespace moebench
