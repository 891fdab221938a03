// SPDX-License-Identifier: Apache-2.0
#include "bench/replay.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "layer/row_errors.h"

namespace moebench {
namespace {

double worst_row(std::span<const float> out, std::span<const float> expected, std::int64_t columns) {
  const std::int64_t rows = columns > 0 ? std::ssize(out) / columns : 0;
  RowErrors errors(columns, rows);
  for (std::int64_t row = 0; row < rows; ++row) {
    RowSums sums;
    for (std::int64_t i = row * columns; i < (row + 1) * columns; ++i) sums.add(out[i], expected[i]);
    errors.add(sums, 0, [] { return std::string(); });
  }
  return errors.largest();
}

}  // namespace

Replay::Replay(Subject& subject, Backend& backend, std::span<const Pass> passes)
    : subject_(subject), backend_(backend), passes_(passes.begin(), passes.end()) {
  for (int step = 0; step < subject.input_sets(); ++step)
    for (const Pass pass : passes_)
      graphs_.push_back(backend.capture([&subject, pass, step] {
        NoTrace trace;
        subject.run(pass, step, trace);
      }));
}

double Replay::distance(std::size_t max_bytes) {
  double largest = 0;
  NoTrace trace;
  for (const int step : {0, subject_.input_sets() - 1}) {
    poison_outputs();
    for (const Pass pass : passes_) subject_.run(pass, step, trace);
    const auto expected = outputs(max_bytes);
    poison_outputs();
    for (std::size_t p = 0; p < passes_.size(); ++p) run(p, step);
    const auto replayed = outputs(max_bytes);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double error = worst_row(replayed[i].values, expected[i].values, expected[i].columns);
      if (!(error <= largest) && !std::isnan(largest)) largest = error;
    }
  }
  return largest;
}

void Replay::poison_outputs() {
  for (const TensorView& output : subject_.outputs()) backend_.poison(output);
}

std::vector<Replay::Output> Replay::outputs(std::size_t max_bytes) {
  std::vector<Output> all;
  for (const TensorView& output : subject_.outputs()) {
    if (output.bytes() > max_bytes) continue;
    all.push_back({output.cols, std::vector<float>(static_cast<std::size_t>(output.size()))});
    backend_.download(all.back().values, output);
  }
  return all;
}

}  // namespace moebench
