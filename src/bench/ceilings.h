// SPDX-License-Identifier: Apache-2.0
// What this machine can do at best, measured in the run itself: matrix products, copies, launches, links.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "bench/subject.h"

namespace moebench {

/// Measures ceilings once per key and remembers them.
class Ceilings {
 public:
  /// `known`: of this machine, from earlier runs; these are not measured again.
  explicit Ceilings(std::span<const Peaks> known = {});
  /// Collective over `bench.ranks` the first time. All ranks measure at once, since they will work at once; the slowest
  /// rank's figure counts. Takes about a second.
  /// The backend uses as many threads as `key` says by now, and `bench` has as many ranks.
  const Peaks& of(Bench bench, const PeaksKey& key);
  bool knows(const PeaksKey& key) const { return measured_.contains(key); }
  /// All that were measured, for the report.
  std::vector<Peaks> all() const;

 private:
  std::map<PeaksKey, Peaks> measured_;
};

}  // namespace moebench
