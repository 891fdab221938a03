// SPDX-License-Identifier: Apache-2.0
#include "bench/replay.h"

#include <algorithm>
#include <cmath>

namespace moebench {

Replay::Replay(Subject& subject, Backend& backend, std::span<const Pass> passes)
    : subject_(subject), backend_(backend), passes_(passes.begin(), passes.end()) {
  for (int step = 0; step < subject.input_sets(); ++step)
    for (const Pass pass : passes_)
      graphs_.push_back(backend.capture([&subject, pass, step] {
        NoTrace trace;
        subject.run(pass, step, trace);
      }));
}

double Replay::distance(std::size_t most_bytes) {
  double largest = 0;
  NoTrace trace;
  for (const int step : {0, subject_.input_sets() - 1}) {
    poison_outputs();
    for (const Pass pass : passes_) subject_.run(pass, step, trace);
    const auto expected = outputs(most_bytes);
    poison_outputs();
    for (std::size_t p = 0; p < passes_.size(); ++p) run(p, step);
    const auto replayed = outputs(most_bytes);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      Difference difference;
      for (std::size_t j = 0; j < expected[i].size(); ++j) difference.add(replayed[i][j], expected[i][j]);
      const double error = difference.relative();
      if (!(error <= largest)) largest = error;  // NaN stays
    }
  }
  return largest;
}

void Replay::poison_outputs() {
  for (const TensorView& output : subject_.outputs()) backend_.poison(output);
}

std::vector<std::vector<float>> Replay::outputs(std::size_t most_bytes) {
  std::vector<std::vector<float>> all;
  for (const TensorView& output : subject_.outputs()) {
    if (output.bytes() > most_bytes) continue;
    backend_.download(all.emplace_back(static_cast<std::size_t>(output.size())), output);
  }
  return all;
}

}  // namespace moebench
