// SPDX-License-Identifier: Apache-2.0
// When each stage of a few iterations ran on each rank.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backends/backend.h"
#include "comm/world.h"
#include "layer/trace.h"
#include "suite/case.h"

namespace moebench {

/// A stretch of one rank's time: an iteration, a pass of it, or a stage of that.
struct Slice {
  int iteration = 0;
  std::optional<Pass> pass;    ///< none: the whole iteration
  std::optional<Stage> stage;  ///< none: the whole pass
  double begin_us = 0, end_us = 0;
};

struct Timeline {
  Case bench_case;
  /// Outer slices before those inside them. Each rank has its own clock, set to rank 0's by one shift: the median over
  /// the iterations of how far apart the two begin. They leave the barrier before an iteration together, but for a
  /// message's time and for one that its host lets wait. Time begins with the first slice of all.
  std::vector<std::vector<Slice>> ranks;
};

/// Takes down the slices of one rank in the order in which they begin.
class SliceTrace final : public Trace {
 public:
  SliceTrace(Backend& backend, int iterations)
      : timestamps_(backend.make_timestamps(iterations * kTimestamps)) {}

  void begin_iteration() { open(std::nullopt, std::nullopt); }
  void end_iteration() { close(), ++iteration_; }
  void begin(Pass pass) { open(pass, std::nullopt); }
  void end(Pass) { close(); }
  void begin(Stage stage, Pass pass) override { open(pass, stage); }
  void end(Stage, Pass) override { close(); }

  /// With times from the first mark on. Only after Backend::synchronize().
  std::vector<Slice> slices() const;

 private:
  static constexpr int kTimestamps =
      2 * (1 + 3 + 32);  ///< of an iteration: itself, its passes, its stages or pieces of them
  void open(std::optional<Pass> pass, std::optional<Stage> stage);
  void close();

  std::unique_ptr<Timestamps> timestamps_;
  int next_mark_ = 0, iteration_ = 0;
  struct Entry {
    Slice slice;
    int begin = 0, end = 0;  ///< timestamps
  };
  std::vector<Entry> entries_;
  std::vector<std::size_t> open_;  ///< those that have not ended, innermost last
};

/// The slices of all ranks, on every rank. Collective.
Timeline timeline_of(const Case& bench_case, World& ranks, const std::vector<Slice>& mine);

}  // namespace moebench
