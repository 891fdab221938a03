// SPDX-License-Identifier: Apache-2.0
#include "bench/watch.h"

#include <algorithm>

#include "base/interrupt.h"

namespace moebench {

Watch::Watch(const Case& watched, Bench bench)
    : case_(watched), bench_(bench), subject_(make_subject(watched, bench)), ranges_(watched, bench.ranks.rank()) {}

CheckRecord Watch::prepare(const Sampling& sampling) {
  CheckRecord check;
  if (sampling.check != CheckMode::none) check = subject_->check(sampling.check);
  iterate(std::max({sampling.warmup, subject_->input_sets(), 1}), ranges_);
  return check;
}

void Watch::profile(int iterations) {
  bench_.backend.profile(true);
  iterate(iterations, ranges_);
  bench_.backend.profile(false);
}

Timeline Watch::trace(int iterations) {
  SliceTrace slices(bench_.backend, iterations);
  iterate(iterations, slices);
  return timeline_of(case_, bench_.ranks, slices.slices());
}

/// Ranks start each iteration together. The device is not held: its queue is part of what is looked at.
template <class Observer>
void Watch::iterate(int iterations, Observer& observer) {
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
