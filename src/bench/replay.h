// SPDX-License-Identifier: Apache-2.0
// The passes of a subject as graphs: recorded once, replayed in every iteration.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "bench/subject.h"

namespace moebench {

/// One graph for each pass of each input set, so that iterations rotate over inputs as without graphs.
class Replay {
 public:
  /// Records them all; every buffer must have its final size: run each input set once before. Both outlive it. Throws
  /// DeviceError for a pass that cannot be recorded.
  Replay(Subject& subject, Backend& backend, std::span<const Pass> passes);

  /// Queues the pass at place `pass` of the list it was made with, as Subject::run() would.
  void run(std::size_t pass, int step) { graphs_[index(pass, step)]->launch(); }

  /// How far the outputs of replayed iterations are from those of the same iterations queued call by call: the
  /// largest relative error of a row or element over outputs and over the first and last input set; NaN if an
  /// element was not written. Looks at outputs up to `most_bytes` each.
  double distance(std::size_t max_bytes);

 private:
  std::size_t index(std::size_t pass, int step) const {
    return static_cast<std::size_t>(step % subject_.input_sets()) * passes_.size() + pass;
  }
  void poison_outputs();
  struct Output {
    std::int64_t columns;
    std::vector<float> values;
  };
  std::vector<Output> outputs(std::size_t max_bytes);

  Subject& subject_;
  Backend& backend_;
  std::vector<Pass> passes_;
  std::vector<std::unique_ptr<Graph>> graphs_;  ///< [input set, pass]
};

}  // namespace moebench
