// SPDX-License-Identifier: Apache-2.0
#include "report/judgement.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "bench/shift_tests.h"
#include "report/quantity.h"

namespace moebench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr Words<Verdict, 7> kVerdicts{{{
    {Verdict::same, "same"},
    {Verdict::faster, "faster"},
    {Verdict::slower, "slower"},
    {Verdict::mixed, "mixed"},
    {Verdict::ambiguous, "ambiguous"},
    {Verdict::refused, "refused"},
    {Verdict::missing, "missing"},
}}};

/// "1.2 % faster to 3.0 % slower"
std::string range_text(double low, double high) {
  const auto side = [](double ratio) {
    return ratio < 1 ? percent_text(100 * (1 / ratio - 1)) + " faster"
                     : percent_text(100 * (ratio - 1)) + " slower";
  };
  return cat(side(low), " to ", side(high));
}

/// False, with the reason, if there is no ratio.
bool has_ratio(Judgement& judged) {
  if (judged.a_us > 0 && judged.b_us > 0) return true;
  judged.verdict = Verdict::ambiguous;
  judged.reason = "a median is zero";
  return false;
}

void decide(Judgement& judged, bool significant, double threshold_pct) {
  const double limit = 1 + threshold_pct / 100;
  if (significant && judged.ratio > limit)
    judged.verdict = Verdict::slower;
  else if (significant && judged.ratio < 1 / limit)
    judged.verdict = Verdict::faster;
  else if (judged.same_low >= 1 / limit && judged.same_high <= limit)
    judged.verdict = Verdict::same;
  else
    judged.verdict = Verdict::ambiguous;
}

double median_of(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  return percentile(sorted, 50);
}

/// The errors of two independent medians add in squares, each side of the interval with the sides it comes from (the
/// method of variance estimates recovery); a 90 % interval is narrower than a 95 % one by the normal quantiles.
void equivalence_interval(Judgement& judged, const Summary& a, const Summary& b) {
  constexpr double kOf95 = 1.6448536269514722 / 1.959963984540054;
  judged.same_low = 0;
  judged.same_high = kInfinity;
  if (!(a.ci95_low > 0) || !(b.ci95_low > 0) || std::isinf(a.ci95_high) || std::isinf(b.ci95_high)) return;
  const double a_down = std::log(a.p50 / a.ci95_low), a_up = std::log(a.ci95_high / a.p50);
  const double b_down = std::log(b.p50 / b.ci95_low), b_up = std::log(b.ci95_high / b.p50);
  judged.same_low = judged.ratio * std::exp(-kOf95 * std::hypot(b_down, a_up));
  judged.same_high = judged.ratio * std::exp(kOf95 * std::hypot(b_up, a_down));
}

double effective(const Summary& summary) {
  return summary.effective_n > 0 ? summary.effective_n : static_cast<double>(summary.n);
}

}  // namespace

std::string_view name_of(Verdict verdict) { return kVerdicts.name(verdict); }

Judgement judge_samples(const Summary& a, std::span<const double> samples_a, const Summary& b,
                        std::span<const double> samples_b, const JudgeOptions& options) {
  Judgement judged{.a_us = a.p50, .b_us = b.p50};
  if (!has_ratio(judged)) return judged;
  judged.ratio = b.p50 / a.p50;
  // Both true medians lie in their intervals: then their ratio lies here.
  judged.ratio_low = std::max(0.0, b.ci95_low / a.ci95_high);
  judged.ratio_high = a.ci95_low > 0 ? b.ci95_high / a.ci95_low : kInfinity;
  equivalence_interval(judged, a, b);
  if (!samples_a.empty() && !samples_b.empty())
    judged.p = rank_test_p(samples_a, samples_b, effective(a), effective(b));
  const bool disjoint = judged.ratio_low > 1 || judged.ratio_high < 1;
  decide(judged, disjoint && !(judged.p >= options.alpha), options.threshold_pct);
  if (judged.verdict != Verdict::ambiguous) return judged;
  if (a.n < 6 || b.n < 6)
    judged.reason = cat("too few samples for an interval: ", a.n, " and ", b.n, " of at least 6");
  else if (std::isinf(judged.ratio_high))
    judged.reason = format("too few independent samples for an interval: %.2g and %.2g of at least 6",
                           effective(a), effective(b));
  else if (disjoint && judged.p >= options.alpha)
    judged.reason = format("the intervals are apart but the rank test is not sure: p = %.2g", judged.p);
  else
    judged.reason = range_text(judged.ratio_low, judged.ratio_high);
  return judged;
}

Judgement judge_processes(std::span<const double> a_us, std::span<const double> b_us, bool paired,
                          const JudgeOptions& options) {
  const auto min = [](std::span<const double> values) {
    return *std::min_element(values.begin(), values.end());
  };
  Judgement judged{.a_us = median_of(a_us),
                   .b_us = median_of(b_us),
                   .processes_a = static_cast<int>(a_us.size()),
                   .processes_b = static_cast<int>(b_us.size())};
  if (!(min(a_us) > 0) || !(min(b_us) > 0)) judged.a_us = 0;
  if (!has_ratio(judged)) return judged;
  std::vector<double> a, b;
  for (const double x : a_us) a.push_back(std::log(x));
  for (const double x : b_us) b.push_back(std::log(x));
  if (paired)
    for (std::size_t i = 0; i < a.size(); ++i) b[i] -= a[i];
  const Shift shift = paired ? paired_shift(b) : unpaired_shift(a, b);
  judged.ratio = std::exp(shift.estimate);
  judged.ratio_low = std::exp(shift.low), judged.ratio_high = std::exp(shift.high);
  judged.same_low = std::exp(shift.low90), judged.same_high = std::exp(shift.high90);
  judged.p = shift.p;
  decide(judged, shift.p < options.alpha, options.threshold_pct);
  if (judged.verdict != Verdict::ambiguous) return judged;
  judged.reason = shift.min_p >= options.alpha
                      ? format("too few processes to tell: %d and %d give p = %.2g at best",
                               judged.processes_a, judged.processes_b, shift.min_p)
                      : range_text(judged.ratio_low, judged.ratio_high);
  return judged;
}

}  // namespace moebench
