// SPDX-License-Identifier: Apache-2.0
#include "report/doubts.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.h"
#include "report/quantity.h"

namespace moebench {
namespace {

using Holds = std::function<bool(const Record&)>;

std::ptrdiff_t count(std::span<const Record> records, const Holds& holds) {
  return std::count_if(records.begin(), records.end(),
                       [&](const Record& record) { return has_times(record) && holds(record); });
}

Holds flagged(std::string_view flag) {
  return [flag](const Record& record) {
    return std::find(record.stop.flags.begin(), record.stop.flags.end(), flag) != record.stop.flags.end();
  };
}

double half_width_us(const Summary& time) { return (time.ci95_high - time.ci95_low) / 2; }

/// How far apart two times are, in percent of `whole_us`, if that is more than both ± together explain; else 0.
double unexplained_pct(double sum_us, double sum_half_us, double whole_us, double whole_half_us) {
  const double apart = std::abs(sum_us - whole_us);
  // Below one percent rounding and timestamps are as likely.
  if (!(apart > sum_half_us + whole_half_us) || apart < 0.01 * whole_us) return 0;
  return 100 * apart / whole_us;
}

/// By how much the medians of the passes miss the median of the whole.
double passes_miss_pct(const Record& record) {
  double sum = 0, squares = 0;
  int passes = 0;
  for (const auto& [pass, time] : record.time)
    if (pass != "total") {
      sum += time.device.p50;
      squares += std::pow(half_width_us(time.device), 2);
      ++passes;
    }
  const Summary& whole = record.time.at("total").device;
  return passes < 2 ? 0 : unexplained_pct(sum, std::sqrt(squares), whole.p50, half_width_us(whole));
}

/// The largest of `figure` over the records with times.
double largest(std::span<const Record> records, const std::function<double(const Record&)>& figure) {
  double max = 0;
  for (const Record& record : records)
    if (has_times(record)) max = std::max(max, figure(record));
  return max;
}

std::string correlated_text(std::span<const Record> records) {
  const Record* worst = nullptr;
  for (const Record& record : records)
    if (has_times(record) && flagged("correlated")(record) && (!worst || record.stop.lag1 > worst->stop.lag1))
      worst = &record;
  if (!worst) return {};
  return format("samples are correlated (%.2f at lag 1): %d are worth %.3g, and ± says so", worst->stop.lag1,
                worst->stop.samples, worst->stop.effective_n);
}

double worst_target_pct(std::span<const Record> records) {
  return largest(records, [](const Record& r) { return missed_target(r) ? r.stop.noise_target_pct : 0; });
}

std::string beaten_limit_text(double pct) {
  return format("%% of limit up to %.0f: what nothing can beat was beaten, so a peak was measured too low",
                pct);
}

}  // namespace

bool missed_target(const Record& record) {
  return has_times(record) && !record.stop.unmet.empty() && record.stop.reason != "samples";
}

StageSum stage_sum(const Record& record) {
  StageSum sum;
  double squares = 0;
  for (const StageRecord& stage : record.stages) {
    if (stage.fused_into) continue;
    sum.us += stage.time.p50;
    squares += std::pow(half_width_us(stage.time), 2);
  }
  sum.half_width_us = std::sqrt(squares);
  return sum;
}

std::vector<std::string> doubts_of(std::span<const Record> records) {
  std::vector<std::string> sentences;
  const auto timed = count(records, [](const Record&) { return true; });
  const auto add = [&](const Holds& holds, const std::string& what) {
    const auto found = count(records, holds);
    if (found > 0) sentences.push_back(timed == 1 ? what : cat(what, " (", found, " of ", timed, " points)"));
  };
  const auto limit = [](const Record& record) { return record.time.at("total").limit_pct; };
  add(missed_target,
      format("±: the %.3g %% that was asked for was missed, marked !; a longer --max-time gets nearer",
             worst_target_pct(records)));
  add(flagged("correlated"), correlated_text(records));
  add(flagged("drift"), "the level drifts while samples are taken: ± is of this stretch alone");
  add(flagged("bimodal"), "samples have two modes: the median may jump from one to the other");
  add([](const Record& record) { return std::isinf(median_error_pct(record.time.at("total").device)); },
      "±  ?: fewer than 6 samples, or samples worth fewer than 6 independent ones");
  add([](const Record& record) { return passes_miss_pct(record) > 0; },
      format("medians of the passes do not add up to the time's, by up to %.0f %%: each column is a median "
             "of its own",
             largest(records, passes_miss_pct)));
  add([&](const Record& record) { return limit(record) > kDoubtfulLimitPct; },
      beaten_limit_text(largest(records, limit)));
  return sentences;
}

std::vector<std::string> stage_doubts_of(const Record& record) {
  if (!has_times(record) || record.stages.empty()) return {};
  std::vector<std::string> sentences;
  const Summary& whole = record.time.at("total").device;
  const StageSum sum = stage_sum(record);
  const double apart = unexplained_pct(sum.us, sum.half_width_us, whole.p50, half_width_us(whole));
  if (apart > 0)
    sentences.push_back(cat(
        format("the stages' sum and the whole differ by %.0f %%", apart), ", more than their ± (",
        percent_text(100 * sum.half_width_us / sum.us), " and ", percent_text(median_error_pct(whole)), ")",
        record.bench_case.processes() > 1 ? ": each stage is that of its slowest rank, waiting included"
                                          : ""));
  double max = 0;
  for (const StageRecord& stage : record.stages)
    if (!stage.fused_into) max = std::max(max, stage.limit_pct);
  if (max > kDoubtfulLimitPct) sentences.push_back("stages: " + beaten_limit_text(max));
  return sentences;
}

}  // namespace moebench
