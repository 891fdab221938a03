// SPDX-License-Identifier: Apache-2.0
#include "report/comparison_steps.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace moebench {
namespace {

using Records = std::span<const Record* const>;

bool rotates(const Record& record) {
  return routing_steps_of(record.bench_case) > 1 || record.bench_case.routing.is_trace();
}

/// How many steps all records have; 0 where they differ or one lacks a time.
std::size_t common_steps(Records a, Records b) {
  const std::size_t steps = a.front()->routing.steps.size();
  const auto fits = [&](const Record* record) {
    const auto& of = record->routing.steps;
    return rotates(*record) && of.size() == steps &&
           std::all_of(of.begin(), of.end(), [](const StepRecord& step) { return step.time.n > 0; });
  };
  return std::all_of(a.begin(), a.end(), fits) && std::all_of(b.begin(), b.end(), fits) ? steps : 0;
}

/// Relative, from the interval: medians of enough samples are about normal.
double standard_error(const Summary& time) {
  constexpr double kOf95 = 1.959964;
  return (time.ci95_high - time.ci95_low) / (2 * kOf95 * time.p50);
}

double p_of(const Judgement& judged, const Summary& a, const Summary& b) {
  if (std::isfinite(judged.p)) return judged.p;
  const double error = std::hypot(standard_error(a), standard_error(b));
  return error > 0 ? std::erfc(std::abs(std::log(judged.ratio)) / (error * std::sqrt(2.0))) : 0;
}

Judgement judge_step(Records a, Records b, std::size_t step, const CompareOptions& options) {
  const JudgeOptions rule{options.threshold_pct, options.alpha};
  const auto time = [&](const Record* record) -> const Summary& { return record->routing.steps[step].time; };
  if (a.size() == 1 && b.size() == 1) return judge_samples(time(a[0]), {}, time(b[0]), {}, rule);
  std::vector<double> medians_a, medians_b;
  for (const Record* record : a) medians_a.push_back(time(record).p50);
  for (const Record* record : b) medians_b.push_back(time(record).p50);
  return judge_processes(medians_a, medians_b, options.paired, rule);
}

}  // namespace

std::vector<PartComparison> judge_steps(Records a, Records b, const CompareOptions& options) {
  std::vector<PartComparison> found;
  const std::size_t steps = common_steps(a, b);
  if (steps < 2) return found;
  for (std::size_t step = 0; step < steps; ++step) {
    Judgement judged = judge_step(a, b, step, options);
    const bool moved = judged.verdict == Verdict::slower || judged.verdict == Verdict::faster;
    const double p = moved ? p_of(judged, a[0]->routing.steps[step].time, b[0]->routing.steps[step].time) : 0;
    if (moved && p >= options.alpha / static_cast<double>(steps)) {
      judged.verdict = Verdict::ambiguous;
      judged.reason = format("of %zu steps one is so far off by chance: p = %.2g", steps, p);
    }
    found.push_back({cat("step ", step), std::move(judged)});
  }
  return found;
}

}  // namespace moebench
