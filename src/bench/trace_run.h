// SPDX-License-Identifier: Apache-2.0
// A few iterations of one case, run to be looked at: by a profiler, or as a timeline. Nothing is sampled.
#pragma once

#include <memory>
#include <optional>

#include "bench/flush.h"
#include "bench/phase.h"
#include "bench/ranges.h"
#include "bench/replay.h"
#include "bench/sampling.h"
#include "bench/subject.h"
#include "bench/timeline.h"

namespace moebench {

/// Every call is collective over `bench.ranks`.
class TraceRun {
 public:
  /// Builds the subject. Throws what building throws, and UsageError for a graph that cannot be replayed.
  TraceRun(const Case& bench_case, Bench bench);

  /// Compares one iteration with the oracle unless `sampling.check` is none, then warms up as a measurement
  /// does and records the case's graphs.
  CheckRecord prepare(
      const Sampling& sampling, const TellPhase& tell = [](std::string_view) {});
  /// Iterations inside the window that a profiler captures (Backend::profile), with ranges and without timestamps.
  /// Replayed if the case says so.
  void profile(int iterations);
  /// Iterations with a mark at both ends of each stage, queued call by call.
  Timeline trace(int iterations);

 private:
  template <class Observer>
  void iterate(int iterations, Observer& observer, Replay* replay = nullptr);

  Case case_;
  Bench bench_;
  std::unique_ptr<Subject> subject_;
  Ranges ranges_;
  std::optional<Flush> flush_;
  std::optional<Replay> replay_;
  int step_ = 0;
};

}  // namespace moebench
