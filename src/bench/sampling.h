// SPDX-License-Identifier: Apache-2.0
// When sampling ends: by noise, by count or by time, and which condition was not met.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"

namespace moebench {

enum class CheckMode { none, quick, full };
CheckMode parse_check(std::string_view word);
std::string_view name_of(CheckMode mode);

/// How long and how carefully a case is measured; the same for every case of a run.
struct Sampling {
  int warmup = 3;           ///< iterations at least, and one of each input set
  int iters = 0;            ///< exactly so many samples; 0: until the noise target or the time budget
  double min_time_s = 0.2;  ///< sampled time at least
  double max_time_s = 10;   ///< sampled time at most
  double noise_pct = 1.0;   ///< target: half width of the median's 95 % interval
  int min_samples = 10;
  CheckMode check = CheckMode::quick;
  bool recheck = false;  ///< the same check again after the samples, on every input set
  bool stages = true;    ///< also measure each stage, in a pass of its own
  bool peaks = true;     ///< also measure the machine's ceilings, once
  bool sensors = true;   ///< also read the device's sensors while samples are taken
  bool interleave = false;
  std::vector<Peaks> known_peaks;  ///< of this machine and backend, from earlier runs: not measured again
  bool check_only = false;         ///< verify and stop: nothing is warmed up or timed
};

/// Collects the samples of one case and says when there are enough. A pure function of what it was given,
/// so that every rank that is given the same samples stops at the same one.
class Stopping {
 public:
  explicit Stopping(const Sampling& sampling) : sampling_(sampling) {}
  /// Throws Error (internal) if the sample is negative or no number.
  void add(double sample_us);
  bool done() const;
  /// Samples to take before asking again: grows with the samples so that asking stays cheap.
  int next_round() const;
  /// Valid when done().
  StopRecord verdict() const;
  std::span<const double> samples() const { return samples_; }

 private:
  int count() const { return static_cast<int>(samples_.size()); }
  bool quiet() const;  ///< enough samples, time and precision
  bool out_of_budget() const;

  Sampling sampling_;
  std::vector<double> samples_;
  double total_us_ = 0;
};

}  // namespace moebench
