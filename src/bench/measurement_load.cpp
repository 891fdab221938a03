// SPDX-License-Identifier: Apache-2.0
// What a measurement's record says of the experts that got the tokens, in each routing step.
#include <algorithm>

#include "base/error.h"
#include "bench/measurement.h"
#include "moe/parameter.h"

namespace moebench {

LoadRange load_range(std::span<const StepRecord> steps) {
  LoadRange range;
  for (const StepRecord& step : steps) {
    if (step.rows_per_expert.mean == 0) continue;
    const double load = step.rows_per_expert.imbalance + 1;
    range.least = range.most == 0 ? load : std::min(range.least, load);
    range.most = std::max(range.most, load);
  }
  return range;
}

/// Of the iteration that has just run, outside the timed region. Weights and inputs do not change while samples are taken,
/// so neither does what a step chooses.
void Measurement::observe_load(int set) {
  if (case_.as_rank >= 0) return;  // of one rank's tokens nothing can be said of the job's load
  const auto choice = subject_->choice();
  if (!choice) return;
  const TokenLoad load = token_load(case_.shape, choice->experts);
  std::vector<std::int64_t> mine = load.rows;
  mine.insert(mine.end(), {load.dropped, load.ranks});
  const auto all = gather_all(bench_.ranks, mine);
  const Shape& shape = case_.shape;
  const auto experts = static_cast<std::size_t>(shape.experts), ep = static_cast<std::size_t>(shape.ep);
  std::vector<std::int64_t> rows(experts), ranks(rank_total_.size());
  StepRecord step;
  std::int64_t distinct = 0;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const std::int64_t* of_rank = &all[rank * mine.size()];
    for (std::size_t e = 0; e < experts; ++e) {
      rows[e] += of_rank[e];
      ranks[rank / ep * ep + e / (experts / ep)] += of_rank[e];
    }
    step.dropped += of_rank[experts];
    distinct += of_rank[experts + 1];
  }
  step.rows_per_expert = load_stats(rows);
  step.rows_per_rank = load_stats(ranks);
  step.ranks_per_token =
      shape.tokens > 0 ? static_cast<double>(distinct) / static_cast<double>(shape.tokens) : 0;
  step.expert_rows.assign(rows.begin(), rows.end());
  step.rank_rows.assign(ranks.begin(), ranks.end());
  record_.routing.steps.push_back(std::move(step));
  MB_ASSERT(std::ssize(record_.routing.steps) == set + 1);
}

/// What is moved is not run: it is charged at the peak of the link.
void Measurement::describe_placement() {
  const StepPlans* plans = subject_->plans();
  if (!plans) return;
  PlacementRecord& placement = record_.routing.placement;
  const Shape& shape = case_.shape;
  placement.window = plans->window;
  placement.steps = plans->effects;
  for (const ParameterSpec& spec : parameters_of(shape, 0))
    if (spec.tag != Tag::world)  // of an expert
      placement.expert_bytes +=
          static_cast<double>(spec.rows * spec.cols) * static_cast<double>(size_of(shape.dtype));
  std::int64_t most = 0;
  for (const PlanEffect& effect : plans->effects) most = std::max(most, effect.busiest);
  if (peaks_.link_gbs > 0)
    placement.move_us_floor = static_cast<double>(most) * placement.expert_bytes / peaks_.link_gbs * 1e-3;
}

/// The time of each step, and what holds for all of them.
void Measurement::describe_steps() {
  RoutingRecord& routing = record_.routing;
  if (routing.steps.empty()) return;
  routing.how = case_.routing.is_random() ? "gate" : replays_routing(case_) ? "replayed" : "planted";
  if (case_.routing.is_trace()) {
    routing.trace = case_.trace;
    routing.trace_fitting = fitting_of(case_.trace, case_.shape);
  }
  describe_placement();
  const auto steps = static_cast<int>(routing.steps.size());
  std::vector<std::vector<double>> samples(routing.steps.size());
  for (std::size_t i = 0; i < slowest_.size(); ++i) {
    const int set = (first_sampled_ + static_cast<int>(i)) % subject_->input_sets();
    samples[static_cast<std::size_t>(set % steps)].push_back(slowest_[i].total_us);
  }
  for (std::size_t s = 0; s < samples.size(); ++s) {
    StepRecord& step = routing.steps[s];
    if (!samples[s].empty()) step.time = summarize(samples[s]);
    routing.ranks_per_token += step.ranks_per_token / steps;
    routing.dropped += step.dropped;
  }
}

}  // namespace moebench
