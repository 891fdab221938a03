// SPDX-License-Identifier: Apache-2.0
#include "bench/trace_run.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"

namespace moebench {

TraceRun::TraceRun(const Case& bench_case, Bench bench)
    : case_(bench_case),
      bench_(bench),
      subject_(make_subject(bench_case, bench)),
      ranges_(bench_case, bench.ranks.rank()) {
  if (bench_case.cache == CacheState::flushed) flush_.emplace(bench.backend);
  if (!bench_case.graph) return;
  if (const std::string why = subject_->why_no_graph(); !why.empty())
    throw UsageError(cat("cannot be replayed as a graph: ", why));
}

CheckRecord TraceRun::prepare(const Sampling& sampling, const TellPhase& tell) {
  CheckRecord check;
  throw_if_interrupted();
  if (sampling.check != CheckMode::none) {
    tell("checking");
    check = subject_->check(sampling.check);
  }
  tell("warming up");
  iterate(std::max({sampling.warmup, subject_->input_sets(), 1}), ranges_);
  subject_->settle();
  if (case_.graph) replay_.emplace(*subject_, bench_.backend, passes_of(case_.passes));
  return check;
}

void TraceRun::profile(int iterations) {
  bench_.backend.profile(true);
  iterate(iterations, ranges_, replay_ ? &*replay_ : nullptr);
  bench_.backend.profile(false);
}

Timeline TraceRun::trace(int iterations) {
  SliceTrace slices(bench_.backend, iterations);
  iterate(iterations, slices);
  return timeline_of(case_, bench_.ranks, slices.slices());
}

/// Ranks start each iteration together. The device is not held: its queue is part of what is looked at.
template <class Observer>
void TraceRun::iterate(int iterations, Observer& observer, Replay* replay) {
  const auto passes = passes_of(case_.passes);
  for (int i = 0; i < iterations; ++i) {
    throw_if_interrupted();
    if (flush_) flush_->run();
    bench_.ranks.barrier();
    subject_->start_together();
    observer.begin_iteration();
    for (std::size_t p = 0; p < passes.size(); ++p) {
      observer.begin(passes[p]);
      if (replay)
        replay->run(p, step_);
      else
        subject_->run(passes[p], step_, observer);
      observer.end(passes[p]);
    }
    observer.end_iteration();
    bench_.backend.synchronize();
    ++step_;
  }
}

}  // namespace moebench
