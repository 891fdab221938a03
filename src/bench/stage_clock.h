// SPDX-License-Identifier: Apache-2.0
// Times every stage of one iteration: the trace of the pass that measures stages apart.
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"
#include "base/error.h"
#include "layer/trace.h"

namespace moebench {

/// A stage that runs in several pieces, because rows travel meanwhile, takes the sum of their times.
class StageClock final : public Trace {
 public:
  explicit StageClock(Backend& backend) : timestamps_(backend.make_timestamps(2 * kMaxPieces)) {}

  /// Forgets the last iteration.
  void begin_iteration() { pieces_.clear(); }
  void begin(Stage stage, Pass pass) override {
    MB_ASSERT(pieces_.size() < kMaxPieces);
    timestamps_->record(2 * static_cast<int>(pieces_.size()));
    pieces_.push_back({stage, pass});
  }
  void end(Stage, Pass) override { timestamps_->record(2 * static_cast<int>(pieces_.size()) - 1); }
  /// Microseconds of a stage in the last iteration, after Backend::synchronize(); 0 if it never ran.
  double us(Stage stage, Pass pass) const {
    double sum = 0;
    for (std::size_t i = 0; i < pieces_.size(); ++i)
      if (pieces_[i].stage == stage && pieces_[i].pass == pass)
        sum += timestamps_->elapsed_us(2 * static_cast<int>(i), 2 * static_cast<int>(i) + 1);
    return sum;
  }

 private:
  static constexpr std::size_t kMaxPieces =
      32;  ///< 8 stages forward, 6 backward, sync; up to 3 pieces of some
  struct Piece {
    Stage stage;
    Pass pass;
  };
  std::unique_ptr<Timestamps> timestamps_;
  std::vector<Piece> pieces_;
};

}  // namespace moebench
