// SPDX-License-Identifier: Apache-2.0
// Runs a sweep: which case, on which ranks, in which order, and what becomes of one that fails.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "bench/ceilings.h"
#include "bench/measurement.h"

namespace moebench {

/// What is known of a case while it is sampled.
struct SoFar {
  double median_us = 0, error_pct = 0;  ///< the latter: the 95 % half width
  LoadRange load = {};
};

/// Receives progress and results. Called on rank 0 only.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void begin(const Case&) {}
  /// What is done next with a case that has begun: "measuring peaks", "checking", "warming up", "timing stages".
  virtual void phase(const Case&, std::string_view /*what*/) {}
  /// After each round of samples.
  virtual void sampled(const Case&, const SoFar&) {}
  virtual void peaks(const Peaks&) {}
  /// Asked when ranks no longer answer or a signal has come: "rank 1 died (signal 9)"; empty if none is known to have.
  virtual std::string lost_rank() { return {}; }
  virtual void end(const Record&) {}
};

/// How a sweep ended. `code` is ok, incorrect, partial, or why it could not go on; `message` then says so.
struct RunOutcome {
  ExitCode code = ExitCode::ok;
  std::string message;
  /// The ranks cannot be trusted to meet again: end with World::abort, not by returning.
  bool ranks_lost = false;
};

/// Collective over `bench.ranks`, the ranks of the whole run. A case on fewer ranks runs on the first of them; one on
/// more is skipped with the reason. A case that fails or does not fit is recorded and the next one runs.
/// With sampling.interleave, cases on the same ranks take turns, a round of samples each. With sampling.check_only,
/// each case is verified and nothing is timed. Throws UsageError, with nothing measured, for a case that cannot run
/// (bench/why_not.h): expand_sweep() has left those out.
RunOutcome run_cases(std::span<const Case> cases, const Sampling& sampling, Bench bench,
                     RunObserver& observer);

}  // namespace moebench
