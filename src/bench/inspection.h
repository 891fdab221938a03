// SPDX-License-Identifier: Apache-2.0
// A few iterations of one case, run to be looked at: by a profiler, or as a timeline. Nothing is sampled.
#pragma once

#include "bench/ranges.h"
#include "bench/sampling.h"
#include "bench/subject.h"
#include "bench/timeline.h"

namespace moebench {

/// Every call is collective over `bench.ranks`.
class Inspection {
 public:
  /// Builds the subject. Throws what building throws.
  Inspection(const Case& inspected, Bench bench);

  /// Compares one iteration with the oracle unless `sampling.check` is none, then warms up as a measurement does.
  CheckRecord prepare(const Sampling& sampling);
  /// Iterations inside the window that a profiler captures (Backend::profile), with ranges and without marks.
  void profile(int iterations);
  /// Iterations with a mark at both ends of each stage.
  Timeline trace(int iterations);

 private:
  template <class Observer>
  void iterate(int iterations, Observer& observer);

  Case case_;
  Bench bench_;
  std::unique_ptr<Subject> subject_;
  Ranges ranges_;
  int step_ = 0;
};

}  // namespace moebench
