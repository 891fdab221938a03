// SPDX-License-Identifier: Apache-2.0
#include "bench/inspection.h"

#include <algorithm>

#include "base/interrupt.h"

namespace moebench {

Inspection::Inspection(const Case& inspected, Bench bench)
    : case_(inspected), bench_(bench), subject_(make_subject(inspected, bench)), ranges_(inspected, bench.ranks.rank()) {}

CheckRecord Inspection::prepare(const Sampling& sampling) {
  CheckRecord check;
  if (sampling.check != CheckMode::none) check = subject_->check(sampling.check);
  iterate(std::max({sampling.warmup, subject_->input_sets(), 1}), ranges_);
  return check;
}

void Inspection::profile(int iterations) {
  bench_.backend.profile(true);
  iterate(iterations, ranges_);
  bench_.backend.profile(false);
}

Timeline Inspection::trace(int iterations) {
  SliceTrace slices(bench_.backend, iterations);
  iterate(iterations, slices);
  return timeline_of(case_, bench_.ranks, slices.slices());
}

/// Ranks start each iteration together. The device is not held: its queue is part of what is looked at.
template <class Observer>
void Inspection::iterate(int iterations, Observer& observer) {
  for (int i = 0; i < iterations; ++i) {
    throw_if_interrupted();
    bench_.ranks.barrier();
    observer.begin_iteration();
    for (const Pass pass : passes_of(case_.passes)) {
      observer.begin(pass);
      subject_->run(pass, step_, observer);
      observer.end(pass);
    }
    observer.end_iteration();
    bench_.backend.synchronize();
    ++step_;
  }
}

}  // namespace moebench
