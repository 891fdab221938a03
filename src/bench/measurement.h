// SPDX-License-Identifier: Apache-2.0
// One case from verification to record, in steps that a runner can interleave with other cases.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/host_memory.h"
#include "bench/device_state.h"
#include "bench/flush.h"
#include "bench/phase.h"
#include "bench/ranges.h"
#include "bench/replay.h"
#include "bench/subject.h"

namespace moebench {

class StageClock;

/// One iteration, microseconds.
struct IterationTimes {
  std::array<double, kPasses.size()> pass_us{};  ///< in the order of the case's passes
  double total_us = 0;
  double host_us = 0;      ///< from the first call until the device is done
  double queue_us = 0;     ///< the host's time to queue it
  bool throttled = false;  ///< the device lowered its clocks meanwhile

  /// Takes the larger of each.
  void merge(const IterationTimes& other);
};

/// Every call is collective over `bench.ranks`. Samples are kept for all passes and all ranks; the
/// largest over ranks of each iteration is what statistics are made of.
class Measurement {
 public:
  /// Builds the subject. `estimated` goes into the record. Throws what building throws.
  Measurement(const Case& bench_case, const Sampling& sampling, Bench bench, const Peaks& peaks,
              const MemoryRecord& estimated);

  /// Why the case cannot be measured as it asks to be; empty if it can. The same on every rank.
  std::string why_not() const { return case_.graph ? subject_->why_no_graph() : std::string(); }
  /// What it is about to do, in a word or two.
  /// Verifies, then warms up. False if the result is wrong: then nothing may be sampled.
  bool prepare(const TellPhase& tell = [](std::string_view) {});
  /// Takes some samples. True while more are wanted.
  bool sample();
  /// Measures the stages apart, checks again if asked to, and works out the record.
  Record finish(const TellPhase& tell = [](std::string_view) {});
  const Record& record() const { return record_; }
  /// Median so far in microseconds and its 95 % half width in percent, for progress.
  double median_us() const { return percentile_of_total(50); }
  double error_pct() const { return median_error_pct(stopping_.samples()); }

 private:
  /// One iteration on this rank. Replayed if graphs were recorded and stages are not traced.
  IterationTimes iterate(int step, Trace* trace = nullptr);
  void queue(std::size_t pass, int step, Trace* trace);
  bool judge_check();
  void record_graphs();
  std::size_t graph_bytes() const;
  void recheck();
  void observe_load(int set);
  void describe_steps();
  void describe_placement();
  void keep_round(const std::vector<IterationTimes>& mine);
  std::vector<double> time_stages(const std::vector<StageWork>& work, StageClock& clock, int iterations);
  void sample_stages();
  StageRecord describe_stage(const StageWork& work, const Summary& time);
  void describe_load();
  void describe_drops();
  void describe_losses();
  void describe_times();
  void describe_device();
  void describe_host();
  void describe_memory();
  /// Null if there are none or they shall not be read.
  Sensors* sensors() const { return sampling_.sensors ? bench_.backend.sensors() : nullptr; }
  double percentile_of_total(double p) const;
  /// `get(times)` of every sample.
  template <class Get>
  std::vector<double> samples_of(Get get) const {
    std::vector<double> values;
    for (const IterationTimes& times : slowest_) values.push_back(get(times));
    return values;
  }

  Case case_;
  Sampling sampling_;
  Bench bench_;
  Peaks peaks_;
  std::vector<Pass> passes_;
  ResidentPeak resident_;  ///< from before the subject was built
  std::unique_ptr<Subject> subject_;
  std::unique_ptr<Timestamps> timestamps_;
  Ranges ranges_;
  std::optional<Flush> flush_;
  std::optional<Replay> replay_;
  SensorSampler sampler_;
  DeviceState device_state_;
  Stopping stopping_;
  int step_ = 0, first_sampled_ = 0;
  std::vector<IterationTimes> slowest_;          ///< [sample] max over ranks
  std::vector<std::vector<double>> rank_total_;  ///< [rank] samples of the total
  std::vector<int> times_slowest_;               ///< [rank] iterations in which it alone was the slowest
  Record record_;
};

}  // namespace moebench
