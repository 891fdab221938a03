// SPDX-License-Identifier: Apache-2.0
// The record of a measurement: its samples, stages, ranks and memory.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "base/text.h"
#include "bench/measurement.h"
#include "bench/roofline.h"
#include "bench/stage_clock.h"
#include "bench/why_not.h"

namespace moebench {
namespace {

MemoryEstimate split_of_peak(const Memory& memory) {
  const auto part = [&](MemoryTag tag) { return static_cast<double>(memory.peak_bytes(tag)); };
  return {.weights = part(MemoryTag::weights),
          .gradients = part(MemoryTag::gradients),
          .activations = part(MemoryTag::activations),
          .inputs = part(MemoryTag::inputs),
          .workspace = part(MemoryTag::workspace)};
}

/// One rank's work in a stage or pass, and the least time that it needs.
struct RankWork {
  StageCost cost;
  Floor floor;
};

/// The rank that was slowest in the most iterations, if it was so more often than the next one by more than chance
/// (a sign test at 95 %, of as many iterations as the samples are worth); nothing where there is no significant one.
std::optional<int> slowest_rank(const std::vector<int>& times_slowest, double effective_share) {
  if (times_slowest.size() == 1) return 0;
  std::vector<int> sorted = times_slowest;
  std::sort(sorted.rbegin(), sorted.rend());
  const double lead = effective_share * (sorted[0] - sorted[1]),
               both = effective_share * (sorted[0] + sorted[1]);
  if (both <= 0 || lead <= 1.96 * std::sqrt(both)) return std::nullopt;
  return static_cast<int>(std::max_element(times_slowest.begin(), times_slowest.end()) -
                          times_slowest.begin());
}

}  // namespace

/// Load statistics cover every expert-parallel group, not only the first.
void Measurement::describe_load() {
  const auto mine = subject_->rows_of_experts();
  if (mine.empty()) return;
  std::vector<std::int64_t> experts, ranks;
  for (const auto& rows : gather_by_rank(bench_.ranks, std::span(mine))) {
    experts.insert(experts.end(), rows.begin(), rows.end());
    ranks.push_back(std::accumulate(rows.begin(), rows.end(), std::int64_t{0}));
  }
  record_.rows_per_expert = load_stats(experts);
  record_.rows_per_rank = load_stats(ranks);
  record_.ranks.rows.assign(ranks.begin(), ranks.end());
  describe_drops();
  describe_losses();
}

void Measurement::describe_losses() {
  const auto losses = subject_->losses();
  if (!losses) return;
  record_.losses.emplace();
  for (const GateLossValues& share : gather_all(bench_.ranks, std::vector<GateLossValues>{*losses}))
    record_.losses->aux += share.aux, record_.losses->z += share.z;
}

void Measurement::describe_drops() {
  const auto drops = subject_->drops();
  if (!drops) return;
  Drops all;
  for (const Drops& of_rank : gather_each(bench_.ranks, *drops)) {
    all.slots += of_rank.slots, all.dropped += of_rank.dropped, all.lost_tokens += of_rank.lost_tokens;
    all.weight += of_rank.weight, all.kept_weight += of_rank.kept_weight;
  }
  const auto percent = [](double part, double whole) { return whole > 0 ? 100 * part / whole : 0; };
  record_.drops = {.dropped_pct = percent(static_cast<double>(all.dropped), static_cast<double>(all.slots)),
                   .lost_tokens = all.lost_tokens,
                   .kept_weight_pct = percent(all.kept_weight, all.weight)};
}

void Measurement::describe_times() {
  const auto describe = [&](std::vector<double> samples, StageCost cost) {
    TimeRecord time;
    time.samples = std::move(samples);
    time.device = summarize(time.samples);
    for (const RankWork& rank : gather_each(bench_.ranks, RankWork{cost, floor_of(cost, peaks_)})) {
      time.flops += rank.cost.flops;
      time.bytes += rank.cost.bytes;
      time.floor_us = std::max(time.floor_us, rank.floor.us);
    }
    time.tflops = time.device.p50 > 0 ? time.flops / time.device.p50 * 1e-6 : 0;
    time.limit_pct = limit_pct(time.floor_us, time.device.p50);
    return time;
  };
  StageCost total;
  for (std::size_t p = 0; p < passes_.size(); ++p) {
    const StageCost cost = subject_->cost(passes_[p]);
    total += cost;
    record_.time[std::string(name_of(passes_[p]))] =
        describe(samples_of([p](const IterationTimes& t) { return t.pass_us[p]; }), cost);
  }
  TimeRecord& time = record_.time["total"] =
      describe(samples_of([](const IterationTimes& t) { return t.total_us; }), total);
  const Shape& shape = case_.shape;
  const std::int64_t tokens = case_.as_rank < 0 ? shape.tokens : shape.tokens_of(case_.as_rank);
  record_.tokens_per_s = time.device.p50 > 0 ? static_cast<double>(tokens) / time.device.p50 * 1e6 : 0;
  const double n = time.device.n;
  record_.ranks.slowest =
      slowest_rank(times_slowest_, n > 0 ? std::min(1.0, time.device.effective_n / n) : 0);
  for (const auto& samples : rank_total_) record_.ranks.median_us.push_back(summarize(samples).p50);
  const int first = std::max(case_.as_rank, 0);
  for (int rank = first; rank < first + case_.processes(); ++rank)
    record_.ranks.tokens.push_back(static_cast<double>(shape.tokens_of(rank)));
}

/// The time to queue an iteration is known only where the host does not wait in it.
void Measurement::describe_host() {
  record_.host = summarize(samples_of([](const IterationTimes& t) { return t.host_us; }));
  if (subject_->waits_for_device() || !bench_.backend.stream().handle) return;
  record_.queue_us = summarize(samples_of([](const IterationTimes& t) { return t.queue_us; })).p50;
  if (record_.queue_us > record_.time.at("total").device.p50)
    record_.warnings.push_back(
        "the host takes longer to queue an iteration than the device to do it: one after the other they "
        "would be launch bound");
}

/// Of the fullest rank.
void Measurement::describe_memory() {
  constexpr double kOverEstimate = 1.05;  // less is alignment and the small arrays of the plan
  const Memory& memory = bench_.backend.memory();
  struct Peak {
    double bytes, resident;
    MemoryEstimate split;
  };
  MemoryRecord& found = record_.memory;
  const Peak mine{static_cast<double>(memory.peak_bytes()), resident_.grown_bytes(), split_of_peak(memory)};
  for (const Peak& peak : gather_each(bench_.ranks, mine)) {
    found.resident_bytes = std::fmax(found.resident_bytes, peak.resident);
    if (peak.bytes <= found.peak_bytes) continue;
    found.peak_bytes = peak.bytes;
    found.at_peak = peak.split;
  }
  if (found.peak_bytes > kOverEstimate * found.estimated_bytes)
    record_.warnings.push_back(cat("took ", size_text(found.peak_bytes), " of memory, ",
                                   size_text(found.estimated_bytes), " were estimated"));
}

void Measurement::describe_device() {
  Backend& backend = bench_.backend;
  const std::string unknown = sampling_.sensors ? backend.why_no_sensors() : "not read: --no-sensors";
  record_.device =
      device_state_.describe(bench_.ranks, sensors(), unknown, static_cast<double>(case_.shape.tokens));
  for (std::size_t i = 0; i < slowest_.size(); ++i)
    if (slowest_[i].throttled) record_.device.throttled_at.push_back(static_cast<double>(i));
  record_.device.throttled_samples = static_cast<int>(record_.device.throttled_at.size());
  if (record_.device.throttled_samples > 0)
    record_.warnings.push_back(cat("the device lowered its clocks while samples were taken: ",
                                   join(record_.device.clock_limits, ", ")));
}

/// Times of each stage on this rank, [stage, iteration], of so many more iterations.
std::vector<double> Measurement::time_stages(const std::vector<StageWork>& work, StageClock& clock,
                                             int iterations) {
  const auto count = static_cast<std::size_t>(iterations);
  std::vector<double> mine(work.size() * count);
  for (std::size_t i = 0; i < count; ++i) {
    clock.begin_iteration();
    iterate(step_++, &clock);
    for (std::size_t s = 0; s < work.size(); ++s) mine[s * count + i] = clock.us(work[s].stage, work[s].pass);
  }
  return mine;
}

/// A pass of its own: the timestamps between stages would disturb the whole-layer times, so those are taken without them.
/// A quarter of the samples, since stages need less precision than the whole, but as many as an interval needs: more
/// where samples are correlated, up to a limit.
void Measurement::sample_stages() {
  constexpr int kFewest = 6, kRound = 6, kMaxWithoutInterval = 30, kMax = 50;
  const auto work = subject_->stages();
  if (work.empty()) return;
  StageClock clock(bench_.backend);
  std::vector<std::vector<double>> slowest(work.size());
  const auto lacks_interval = [&](const std::vector<double>& samples) {
    return samples.empty() || std::isinf(summarize(samples).ci95_high);
  };
  int next = std::clamp(record_.stop.samples / 4, kFewest, kMax);
  for (int taken = 0; next > 0; next = std::min(kRound, kMaxWithoutInterval - taken)) {
    const auto all = gather_by_rank(bench_.ranks, std::span<const double>(time_stages(work, clock, next)));
    const auto count = static_cast<std::size_t>(next);
    for (std::size_t s = 0; s < work.size(); ++s)
      for (std::size_t i = 0; i < count; ++i) {
        double max = 0;
        for (const auto& rank : all) max = std::max(max, rank[s * count + i]);
        slowest[s].push_back(max);
      }
    taken += next;
    if (std::none_of(slowest.begin(), slowest.end(), lacks_interval)) break;
  }
  const auto last_work = subject_->stages();
  for (std::size_t s = 0; s < work.size(); ++s)
    record_.stages.push_back(describe_stage(last_work[s], summarize(slowest[s])));
  double exchanged = 0, exchange_us = 0;
  for (const StageRecord& stage : record_.stages) {
    if (stage.overlaps || (stage.stage != Stage::dispatch && stage.stage != Stage::collect)) continue;
    exchanged += stage.link_bytes;
    exchange_us += stage.time.p50;
  }
  record_.exchange_gbs = exchange_us > 0 ? exchanged / exchange_us * 1e-3 : 0;
}

/// The work and floor of the rank whose floor is highest: it sets the pace.
StageRecord Measurement::describe_stage(const StageWork& work, const Summary& time) {
  const Floor floor = work.overlaps ? Floor{} : floor_of(work.cost, peaks_);
  const auto all = gather_each(bench_.ranks, RankWork{work.cost, floor});
  const RankWork busiest = *std::max_element(
      all.begin(), all.end(), [](const RankWork& a, const RankWork& b) { return a.floor.us < b.floor.us; });
  return {.stage = work.stage,
          .pass = work.pass,
          .fused_into = work.fused_into,
          .overlaps = work.overlaps,
          .time = time,
          .flops = busiest.cost.flops,
          .bytes = busiest.cost.bytes,
          .link_bytes = busiest.cost.link_bytes,
          .floor_us = busiest.floor.us,
          .limit_pct = limit_pct(busiest.floor.us, time.p50),
          .bound = busiest.floor.bound};
}

}  // namespace moebench
