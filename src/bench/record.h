// SPDX-License-Identifier: Apache-2.0
// What is known of one case after it was measured. Every field is described in docs/report.md.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/statistics.h"
#include "layer/relative_error.h"
#include "moe/cost.h"
#include "moe/expert_plan.h"
#include "moe/load.h"
#include "moe/stage.h"
#include "suite/case.h"

namespace moebench {

enum class Status { ok, incorrect, failed, skipped, timed_out, interrupted };
std::string_view name_of(Status status);
Status parse_status(std::string_view word);

/// What tells the peaks of one backend apart. A case is held to those of its own key.
struct PeaksKey {
  DType dtype = DType::fp32;
  int ranks = 1, threads = 0;  ///< as in Peaks

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the zero that <=> compares with for a pointer
  auto operator<=>(const PeaksKey&) const = default;
};
PeaksKey peaks_key(const Case& bench_case);

/// The ceilings of this machine for one backend and key, measured in this run or kept. Zero where not measured.
struct Peaks {
  std::string backend;
  DType dtype = DType::fp32;
  int ranks = 1;               ///< how many ranks measured at once: they share sockets and links
  int threads = 0;             ///< of each rank, of cases with --threads; 0: of cases without
  double gemm_tflops = 0;      ///< per rank, the slowest rank's
  double copy_gbs = 0;         ///< bytes read plus bytes written, per rank
  double launch_us = 0;        ///< time of the smallest piece of work: a copy of one element
  double link_gbs = 0;         ///< all-to-all, bytes that leave a rank; 0 with one rank
  double link_latency_us = 0;  ///< a small exchange
  /// By how much the second best round of repeats missed the best, of the rank where that was most; NaN if unknown.
  double gemm_spread_pct = std::numeric_limits<double>::quiet_NaN();
  double copy_spread_pct = std::numeric_limits<double>::quiet_NaN();
  double link_spread_pct = std::numeric_limits<double>::quiet_NaN();
  std::string kept_since;  ///< when it was measured, if an earlier run did

  PeaksKey key() const { return {dtype, ranks, threads}; }
};

/// What limits a stage at its floor.
enum class Bound { compute, memory, link, latency };
std::string_view name_of(Bound bound);
Bound parse_bound(std::string_view word);

struct StageRecord {
  Stage stage;
  Pass pass;
  std::optional<Stage> fused_into;              ///< then the times are zero
  bool overlaps = false;                        ///< runs beside others: the time is what they do not hide
  Summary time;                                 ///< microseconds, max over ranks per iteration
  double flops = 0, bytes = 0, link_bytes = 0;  ///< of the busiest rank
  double floor_us = 0;                          ///< least time at the measured peaks
  double limit_pct = 0;                         ///< 100 · floor / median
  Bound bound = Bound::memory;
};

/// Times of one pass, or of all passes of the case together.
struct TimeRecord {
  Summary device;               ///< microseconds between device timestamps, max over ranks per iteration
  std::vector<double> samples;  ///< the same, one per iteration; kept in the report with --samples
  double flops = 0, bytes = 0;  ///< all ranks
  double tflops = 0;            ///< all ranks, from the median
  double floor_us = 0, limit_pct = 0;
};

/// Relative errors against the oracle, with the bound each had to meet.
struct CheckRecord {
  std::string mode = "none";  ///< none, quick, full
  bool passed = false;        ///< of all that was compared, afterwards too
  std::vector<CheckItem> items;
  int rechecked_sets = 0;  ///< input sets that were checked again after the samples; 0: not asked for
  std::vector<CheckItem> recheck_items;  ///< the worst over these
};

/// Why sampling ended, and which condition was not met.
struct StopRecord {
  std::string reason;  ///< noise, samples, time
  std::string unmet;   ///< empty if the noise target was met
  int warmup = 0, samples = 0;
  double noise_target_pct = 0;
  double lag1 = std::numeric_limits<double>::quiet_NaN();         ///< autocorrelation of the samples' ranks
  double effective_n = std::numeric_limits<double>::quiet_NaN();  ///< NaN in reports of old
  std::vector<std::string> flags;                                 ///< of correlated, drift, bimodal
};

/// What an iteration dropped, of all ranks' tokens; nothing where none can be dropped.
struct DropsRecord {
  double dropped_pct = 0;        ///< of the slots
  std::int64_t lost_tokens = 0;  ///< tokens with no slot left
  double kept_weight_pct = 0;    ///< of the sum of all slots' scores, that of the slots that were not dropped
};

/// One routing step that iterations rotate through.
struct StepRecord {
  LoadStats rows_per_expert, rows_per_rank;
  double ranks_per_token = 0;
  std::int64_t dropped = 0;
  Summary time;                     ///< of the iterations of this step, all passes; n is 0 if there were none
  std::vector<double> expert_rows;  ///< [E] over all ranks; kept in the report with --samples
  std::vector<double> rank_rows;    ///< [R]
};

/// max / mean rows over experts, of the most even and of the most uneven routing step; 0: unknown.
struct LoadRange {
  double least = 0, most = 0;
};
LoadRange load_range(std::span<const StepRecord> steps);

/// What plans of --placement eplb do in each routing step, and what they move; empty without them.
struct PlacementRecord {
  int window = 0;           ///< steps that a plan was made from
  double expert_bytes = 0;  ///< weights of one expert
  double move_us_floor =
      0;  ///< of the step that moves most: what comes to the busiest rank, over the link's peak; 0: not measured
  std::vector<PlanEffect> steps;
};

/// What the gates of all ranks chose, read once for each routing step, before samples are taken.
struct RoutingRecord {
  std::string how;  ///< gate, planted, replayed; empty without a gate
  double ranks_per_token =
      0;  ///< distinct ranks that a token goes to, its own included where it is one: the mean
  std::int64_t dropped = 0;   ///< slots of one rotation
  TraceFacts trace;           ///< what is replayed, if it was recorded
  std::string trace_fitting;  ///< what was done to give the case its tokens
  PlacementRecord placement;
  std::vector<StepRecord> steps;
};

/// Of all ranks' tokens in the last iteration, with their factors; nothing without losses.
struct LossRecord {
  double aux = 0, z = 0;
};

struct RanksRecord {
  std::optional<int> slowest;  ///< the rank that was slowest most often, if that is more than chance
  std::vector<double>
      rows;  ///< per rank: what its experts computed in the last iteration; empty without experts
  std::vector<double> tokens;     ///< per rank
  std::vector<double> median_us;  ///< per rank, whole iteration
};

/// What the devices' sensors said while the case was sampled: extremes over ranks. Zero where they report nothing.
struct DeviceRecord {
  std::string unknown;  ///< why nothing is known; then all else is empty
  int readings = 0;
  double sm_min_mhz = 0, sm_max_mhz = 0, memory_min_mhz = 0, memory_max_mhz = 0;
  double temperature_max_c = 0, power_mean_w = 0, power_max_w = 0;
  std::vector<std::string> clock_limits;  ///< why clocks were lower than they could be: "power cap"
  int throttled_samples = 0;              ///< taken while clocks were throttled on a rank
  std::vector<double> throttled_at;       ///< which, from 0; kept in the report with --samples
  double energy_uj_per_token = 0;
  double energy_s = 0;         ///< how long energy was watched
  std::string energy_from;     ///< "counter": the device's own; "power": its power readings averaged
  std::string energy_unknown;  ///< why there is no energy
};

/// Several processes of one case; empty for one.
struct RepetitionsRecord {
  std::vector<double> median_us;  ///< of each process, whole iteration
  double within_pct = 0;          ///< median over processes of the half width of each one's own interval
  double between_pct = 0;         ///< standard deviation of the logarithms of their medians
};

struct MemoryRecord {
  double estimated_bytes = 0;
  double weights_bytes = 0, gradients_bytes = 0;   ///< of the estimate
  double activations_bytes = 0, inputs_bytes = 0;  ///< of the estimate
  double workspace_bytes = 0;                      ///< of the estimate
  double peak_bytes = 0;                           ///< seen by the allocator on the fullest rank
  MemoryEstimate at_peak;                          ///< of peak_bytes: measured, not estimated
  double host_estimated_bytes = 0;                 ///< copies on the host: not in estimated_bytes
  /// By how much the resident memory of the process grew, on the rank where that was most; NaN where unknown. Of a backend
  /// that computes in host memory peak_bytes is in it.
  double resident_bytes = std::numeric_limits<double>::quiet_NaN();
  std::int64_t timed_allocations = 0;  ///< allocations inside timed regions: must be 0
};

struct Record {
  std::string id;   ///< stable hash of the case's settings
  std::string run;  ///< id of the run that measured it: a resumed report holds points of several
  Case bench_case;
  Status status = Status::ok;
  std::string reason;  ///< why it is not ok
  CheckRecord check;
  LoadStats rows_per_expert, rows_per_rank;
  std::optional<DropsRecord> drops;
  RoutingRecord routing;
  std::optional<LossRecord> losses;
  std::map<std::string, TimeRecord> time;  ///< "total" and each pass: "forward", "backward", "sync"
  Summary host;                            ///< host clock around the whole iteration, microseconds
  std::vector<StageRecord> stages;
  double tokens_per_s = 0;
  double exchange_gbs = 0;  ///< link bytes over the time of dispatch and collect
  StopRecord stop;
  RanksRecord ranks;
  RepetitionsRecord repetitions;
  MemoryRecord memory;
  DeviceRecord device;
  std::string math;  ///< how matrices are multiplied: "bf16 tensor cores, fp32 accumulation"
  double queue_us =
      0;  ///< median of the host's time to queue an iteration; 0 where it waits for the device in between
  double setup_us = 0;  ///< building the subject, before the first iteration
  double comm_us = 0;   ///< of that: connecting the ranks
  double first_iteration_us = 0;
  double capture_us = 0;  ///< recording every pass of every input set as a graph
  std::vector<std::string> warnings;
};

/// A hash of the case's settings as 16 hexadecimal digits, the same on every machine and in every build: a setting that
/// was added later counts only where it is not at its default.
std::string id_of(const Case& bench_case);

/// Whether nothing compared the point's result with anything.
bool is_unchecked(const Record& record);
/// "ok", "incorrect" or "unchecked".
std::string_view verdict_of(const Record& record);

/// Whether the record's times may be shown: it is ok, was sampled, no check of its result failed, and the report that it was
/// read from holds the median of the whole.
bool has_times(const Record& record);

}  // namespace moebench
