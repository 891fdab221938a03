// SPDX-License-Identifier: Apache-2.0
#include "bench/measurement.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/interrupt.h"
#include "base/text.h"
#include "layer/verify.h"

namespace moebench {
namespace {

using Clock = std::chrono::steady_clock;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

}  // namespace

Measurement::Measurement(const Case& bench_case, const Sampling& sampling, Bench bench, const Peaks& peaks,
                         const MemoryRecord& estimated)
    : case_(bench_case),
      sampling_(sampling),
      bench_(bench),
      peaks_(peaks),
      passes_(passes_of(bench_case.passes)),
      ranges_(bench_case, bench.ranks.rank()),
      sampler_(sensors()),
      stopping_(sampling),
      rank_total_(static_cast<std::size_t>(bench.ranks.size())),
      times_slowest_(rank_total_.size()) {
  bench.backend.memory().reset_peak();
  const auto start = Clock::now();
  {
    const ScopedMemoryTag scope(bench.backend.memory(), MemoryTag::activations);
    subject_ = make_subject(bench_case, bench);
  }
  if (bench_case.cache == CacheState::flushed) flush_.emplace(bench.backend);
  timestamps_ = bench.backend.make_timestamps(static_cast<int>(passes_.size()) + 1);
  bench.backend.synchronize();
  record_.setup_us = us_since(start);
  record_.comm_us = subject_->comm_us();
  record_.math = bench.backend.math(bench_case.shape.dtype);
  record_.bench_case = bench_case;
  record_.memory = estimated;
  if (const int cores = usable_cores(); bench_case.threads > cores)
    record_.warnings.push_back(
        cat(bench_case.threads, " threads share ", cores, cores == 1 ? " core" : " cores"));
}

bool Measurement::prepare(const TellPhase& tell) {
  if (const auto why = case_.why_not_checked(); !why.empty()) {
    sampling_.check = CheckMode::none;
    record_.warnings.push_back(cat("not checked: ", why));
  }
  if (sampling_.check != CheckMode::none) {
    tell("checking");
    record_.check = subject_->check(sampling_.check);
    for (const CheckItem& item : record_.check.items)
      if (!item.why_not.empty())
        record_.warnings.push_back(cat("rows outside the sample were not checked: ", item.why_not));
    if (!judge_check()) return false;
  }
  if (case_.graph) tell("recording graphs"), record_graphs();
  if (!judge_check()) return false;
  if (sampling_.check_only) return true;
  tell("warming up");
  // Every input set once: whatever grows with what is received has grown before anything is timed.
  record_.stop.warmup = std::max({sampling_.warmup, subject_->input_sets(), 1});
  for (int i = 0; i < record_.stop.warmup; ++i) {
    const int set = step_ % subject_->input_sets();
    const auto times = iterate(step_++);
    if (record_.first_iteration_us == 0) record_.first_iteration_us = times.host_us;
    if (set == std::ssize(record_.routing.steps) && set < subject_->routing_steps()) observe_load(set);
  }
  first_sampled_ = step_;
  subject_->settle();
  return true;
}

/// False if something was compared and is wrong; then the record says what.
bool Measurement::judge_check() {
  std::vector<std::string> wrong;
  const auto judge = [&](const std::vector<CheckItem>& items, const char* when) {
    for (const CheckItem& item : items)
      if (!item.passed())
        wrong.push_back(cat(format("%s error %.2g exceeds %.2g", item.name.c_str(), item.error, item.bound),
                            item.where.empty() ? "" : " at ", item.where, when));
  };
  judge(record_.check.items, "");
  judge(record_.check.recheck_items, ", after timing");
  if (wrong.empty()) return true;
  record_.check.passed = false;
  record_.status = Status::incorrect;
  record_.reason = join(wrong, ", ");
  return false;
}

/// The largest output that is compared.
std::size_t Measurement::graph_bytes() const {
  constexpr std::size_t kQuickBytes = std::size_t{256} << 20;  // larger gradients are left to a full check
  return sampling_.check == CheckMode::full ? std::numeric_limits<std::size_t>::max() : kQuickBytes;
}

/// Buffers grow and libraries load in a first round without graphs. Replays are compared with what the check found right:
/// the same iterations, queued call by call.
void Measurement::record_graphs() {
  for (int i = 0; i < subject_->input_sets(); ++i) {
    const auto times = iterate(step_++);
    if (i == 0) record_.first_iteration_us = times.host_us;
  }
  subject_->settle();
  const auto start = Clock::now();
  replay_.emplace(*subject_, bench_.backend, passes_);
  record_.capture_us = us_since(start);
  if (sampling_.check == CheckMode::none) return;
  std::vector<CheckItem> items{{"graph", replay_->distance(graph_bytes()), error_bound(case_.shape.dtype)}};
  all_reduce_max(bench_.ranks, items);
  record_.check.items.push_back(items.front());
}

/// Runs all passes once. Ranks start together, their devices too where they share memory; nothing but the passes lies between the first and last timestamp.
IterationTimes Measurement::iterate(int step, Trace* trace) {
  throw_if_interrupted();
  if (flush_) flush_->run();
  bench_.ranks.barrier();
  const bool may_hold = !subject_->waits_for_device();
  if (may_hold) bench_.backend.hold();
  const auto start = Clock::now();
  subject_->start_together();
  timestamps_->record(0);
  for (std::size_t p = 0; p < passes_.size(); ++p) {
    queue(p, step, trace);
    timestamps_->record(static_cast<int>(p) + 1);
  }
  const double queue_us = us_since(start);
  if (may_hold) bench_.backend.release();
  bench_.backend.synchronize();
  const double host_us = us_since(start);
  const int last = static_cast<int>(passes_.size());
  IterationTimes times{
      .total_us = timestamps_->elapsed_us(0, last), .host_us = host_us, .queue_us = queue_us};
  for (int p = 0; p < last; ++p)
    times.pass_us[static_cast<std::size_t>(p)] = timestamps_->elapsed_us(p, p + 1);
  return times;
}

/// A replayed pass has no ranges per stage for a profiler.
void Measurement::queue(std::size_t pass, int step, Trace* trace) {
  ranges_.begin(passes_[pass]);
  if (replay_ && !trace)
    replay_->run(pass, step);
  else
    subject_->run(passes_[pass], step, trace ? *trace : ranges_);
  ranges_.end(passes_[pass]);
}

bool Measurement::sample() {
  const auto allocations = bench_.backend.memory().allocations();
  std::vector<IterationTimes> mine;
  std::vector<Clock::time_point> between{Clock::now()};
  sampler_.begin();
  for (int i = stopping_.next_round(); i > 0; --i) {
    mine.push_back(iterate(step_++));
    between.push_back(Clock::now());
  }
  sampler_.end();
  device_state_.add(sampler_.readings(), static_cast<int>(mine.size()),
                    std::chrono::duration<double>(between.back() - between.front()).count());
  for (std::size_t i = 0; i < mine.size(); ++i)
    mine[i].throttled = throttled_between(sampler_.readings(), between[i], between[i + 1]);
  record_.memory.timed_allocations +=
      static_cast<std::int64_t>(bench_.backend.memory().allocations() - allocations);
  keep_round(mine);
  return !stopping_.done();
}

/// Every rank gathers the same samples, so every rank stops at the same one.
void Measurement::keep_round(const std::vector<IterationTimes>& mine) {
  const auto all = gather_by_rank(bench_.ranks, std::span(mine));
  for (std::size_t i = 0; i < mine.size(); ++i) {
    IterationTimes slowest;
    for (const auto& rank : all) slowest.merge(rank[i]);
    std::size_t slowest_rank = 0, as_slow = 0;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      const double total_us = all[rank][i].total_us;
      rank_total_[rank].push_back(total_us);
      if (total_us < slowest.total_us) continue;
      slowest_rank = rank;
      ++as_slow;
    }
    if (as_slow == 1) ++times_slowest_[slowest_rank];
    slowest_.push_back(slowest);
    stopping_.add(slowest.total_us);
  }
}

void IterationTimes::merge(const IterationTimes& other) {
  for (std::size_t p = 0; p < pass_us.size(); ++p) pass_us[p] = std::max(pass_us[p], other.pass_us[p]);
  total_us = std::max(total_us, other.total_us);
  host_us = std::max(host_us, other.host_us);
  queue_us = std::max(queue_us, other.queue_us);
  throttled = throttled || other.throttled;
}

double Measurement::percentile_of_total(double p) const {
  std::vector<double> sorted(stopping_.samples().begin(), stopping_.samples().end());
  std::sort(sorted.begin(), sorted.end());
  return percentile(sorted, p);
}

/// The worst of each item over the input sets, on what the timed iterations left behind.
void Measurement::recheck() {
  CheckRecord& check = record_.check;
  for (int step = 0; step < subject_->input_sets(); ++step) {
    throw_if_interrupted();
    for (CheckItem& item : subject_->recheck(sampling_.check, step).items) {
      const auto same = [&](const CheckItem& other) { return other.name == item.name; };
      const auto found = std::find_if(check.recheck_items.begin(), check.recheck_items.end(), same);
      if (!item.where.empty()) item.where += cat(" of input set ", step);
      if (found == check.recheck_items.end())
        check.recheck_items.push_back(std::move(item));
      else if (!(item.error <= found->error) && !std::isnan(found->error))
        *found = std::move(item);
    }
  }
  check.rechecked_sets = subject_->input_sets();
  if (!replay_) return;
  std::vector<CheckItem> items{{"graph", replay_->distance(graph_bytes()), error_bound(case_.shape.dtype)}};
  all_reduce_max(bench_.ranks, items);
  check.recheck_items.push_back(items.front());
}

Record Measurement::finish(const TellPhase& tell) {
  const int warmup = record_.stop.warmup;
  record_.stop = stopping_.verdict();
  record_.stop.warmup = warmup;
  describe_load();
  describe_times();
  describe_steps();
  describe_host();
  describe_device();
  if (sampling_.stages) tell("timing stages"), sample_stages();
  describe_memory();
  if (record_.memory.timed_allocations > 0)
    record_.warnings.push_back(cat(record_.memory.timed_allocations, " allocations inside the timed region"));
  if (sampling_.recheck && sampling_.check != CheckMode::none) {
    tell("checking again");
    recheck();
    judge_check();
  }
  return record_;
}

}  // namespace moebench
