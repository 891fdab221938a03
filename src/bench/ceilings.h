// SPDX-License-Identifier: Apache-2.0
// What this machine can do at best, measured in the run itself: matrix products, copies, launches, links.
#pragma once

#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "bench/subject.h"

namespace moebench {

/// Measures ceilings once per (dtype, number of ranks, threads) and remembers them.
class Ceilings {
 public:
  /// `known`: of this machine, from earlier runs; these are not measured again.
  explicit Ceilings(std::span<const Peaks> known = {});
  /// Collective over `bench.ranks` the first time. All ranks measure at once, since they will work at once; the slowest
  /// rank's figure counts. Takes about a second.
  /// `threads`: Case::threads, which the backend uses by now.
  const Peaks& of(Bench bench, DType dtype, int threads = 0);
  /// All that were measured, for the report.
  std::vector<Peaks> all() const;

 private:
  std::map<std::tuple<DType, int, int>, Peaks> measured_;
};

}  // namespace moebench
