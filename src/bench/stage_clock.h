// SPDX-License-Identifier: Apache-2.0
// Times every stage of one iteration: the trace of the pass that measures stages apart.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "backends/backend.h"
#include "layer/trace.h"

namespace moebench {

class StageClock final : public Trace {
 public:
  explicit StageClock(Backend& backend) : marks_(backend.make_marks(2 * kMost)) {}

  void begin(Stage stage, Pass pass) override { marks_->record(2 * slot_of(stage, pass)); }
  void end(Stage stage, Pass pass) override { marks_->record(2 * slot_of(stage, pass) + 1); }
  /// Microseconds of a stage in the last iteration, after Backend::synchronize(); 0 if it never ran.
  double us(Stage stage, Pass pass) const {
    const auto slot = slots_.find({stage, pass});
    return slot == slots_.end() ? 0 : marks_->elapsed_us(2 * slot->second, 2 * slot->second + 1);
  }

 private:
  static constexpr int kMost = 32;  // 8 forward, 6 backward, sync
  int slot_of(Stage stage, Pass pass) {
    return slots_.try_emplace({stage, pass}, static_cast<int>(slots_.size())).first->second;
  }
  std::unique_ptr<Marks> marks_;
  std::map<std::pair<Stage, Pass>, int> slots_;
};

}  // namespace moebench
