// SPDX-License-Identifier: Apache-2.0
#include "bench/sampling.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "bench/dependence.h"

namespace moebench {
namespace {

constexpr Words<CheckMode, 3> kCheckModes{{{
    {CheckMode::none, "none"},
    {CheckMode::quick, "quick"},
    {CheckMode::full, "full"},
}}};

/// More tell nothing new about a median, and a clock that stands still must not sample for ever.
constexpr int kMaxSamples = 1'000'000;

/// Samples worth less than half as many independent ones are worth saying so.
std::vector<std::string> flags_of(const Dependence& dependence, std::span<const double> samples) {
  std::vector<std::string> flags;
  if (dependence.lag1 >= kUncorrelated && dependence.effective_n < 0.5 * static_cast<double>(samples.size()))
    flags.emplace_back("correlated");
  if (dependence.drift) flags.emplace_back("drift");
  if (is_bimodal(samples)) flags.emplace_back("bimodal");
  return flags;
}

}  // namespace

CheckMode parse_check(std::string_view word) { return kCheckModes.parse("check", word); }
std::string_view name_of(CheckMode mode) { return kCheckModes.name(mode); }

void Stopping::add(double sample_us) {
  if (!std::isfinite(sample_us) || sample_us < 0)
    throw Error(ExitCode::internal, cat("sample ", samples_.size() + 1, " took ", sample_us, " us"));
  samples_.push_back(sample_us);
  total_us_ += sample_us;
}

bool Stopping::out_of_budget() const {
  return count() >= kMaxSamples || (count() > 0 && total_us_ >= sampling_.max_time_s * 1e6);
}

bool Stopping::quiet() const {
  // In this order: the noise is asked for last because it sorts the samples.
  return count() >= sampling_.min_samples && total_us_ >= sampling_.min_time_s * 1e6 &&
         median_error_pct(samples_) <= sampling_.noise_pct;
}

bool Stopping::done() const {
  if (sampling_.iters > 0) return count() >= sampling_.iters;
  return out_of_budget() || quiet();
}

int Stopping::next_round() const {
  if (sampling_.iters > 0) return std::max(1, sampling_.iters - count());
  if (count() == 0) return 1;  // it may take a minute: look at it before asking for more
  const double n = count(), mean_us = std::max(total_us_ / n, 1e-3);
  const auto samples_until = [&](double budget_s) {
    return std::ceil((budget_s * 1e6 - total_us_) / mean_us);
  };
  const double wanted = std::max({n / 8, sampling_.min_samples - n, samples_until(sampling_.min_time_s)});
  // The mean of few samples foretells little: grow at most eightfold.
  return static_cast<int>(std::max(1.0, std::min({wanted, samples_until(sampling_.max_time_s), 8 * n, 1e6})));
}

StopRecord Stopping::verdict() const {
  MB_ASSERT(done());
  const double error = median_error_pct(samples_);
  StopRecord stop{.warmup = sampling_.warmup, .samples = count(), .noise_target_pct = sampling_.noise_pct};
  const bool counted = sampling_.iters > 0 || (count() >= kMaxSamples && !quiet());
  stop.reason = counted ? "samples" : quiet() ? "noise" : "time";
  std::vector<std::string> unmet;
  if (sampling_.iters == 0 && count() < sampling_.min_samples)
    unmet.push_back(cat(count(), " samples < ", sampling_.min_samples));
  const Dependence dependence = dependence_of(samples_);
  stop.lag1 = dependence.lag1;
  stop.effective_n = dependence.effective_n;
  stop.flags = flags_of(dependence, samples_);
  if (std::isinf(error) && count() >= 6)
    unmet.push_back(format("noise unknown with %d samples worth %.2g independent ones > target %.3g %%",
                           count(), dependence.effective_n, sampling_.noise_pct));
  else if (std::isinf(error))
    unmet.push_back(format("noise unknown with %d samples > target %.3g %%", count(), sampling_.noise_pct));
  else if (error > sampling_.noise_pct)
    unmet.push_back(format("noise %.4g %% > target %.3g %%", error, sampling_.noise_pct));
  stop.unmet = join(unmet, ", ");
  return stop;
}

}  // namespace moebench
