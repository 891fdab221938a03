// SPDX-License-Identifier: Apache-2.0
// Who got the tokens, in JSON: written and read by one description (report/json_fields.h).
#pragma once

#include <limits>

#include "bench/record.h"
#include "report/json_fields.h"

namespace moebench {

template <class Io, class L>
void load_fields(Io& io, L& load) {
  io("min", load.min);
  io("median", load.median);
  io("max", load.max);
  io("mean", load.mean);
  io("imbalance", load.imbalance);
  double over_mean = load.mean > 0 ? load.imbalance + 1 : 0,
         violation = load.imbalance;  // the same, unambiguously
  io("max_over_mean", over_mean, 0);
  io("maxvio", violation);
  io("empty", load.empty);
  io("cv", load.cv);
  io("entropy", load.entropy);
}

/// Rows of experts only where they were kept: with --samples.
template <class Io, class S>
void step_fields(Io& io, S& step) {
  io.object("rows_per_expert", [&](auto& rows) { load_fields(rows, step.rows_per_expert); });
  io.object("rows_per_rank", [&](auto& rows) { load_fields(rows, step.rows_per_rank); });
  io("ranks_per_token", step.ranks_per_token);
  io("dropped", step.dropped);
  io("n", step.time.n);
  io("p50_us", step.time.p50, 0);
  io("ci95_low_us", step.time.ci95_low, step.time.n > 0 ? -std::numeric_limits<double>::infinity() : 0);
  io("ci95_high_us", step.time.ci95_high, step.time.n > 0 ? std::numeric_limits<double>::infinity() : 0);
  io.numbers("rank_rows", step.rank_rows);
  if (Io::kReads || !step.expert_rows.empty()) io.numbers("expert_rows", step.expert_rows);
}

template <class Io, class T>
void trace_fields(Io& io, T& trace, std::string& fitting) {
  io("name", trace.name);
  io("sha256", trace.sha256);
  io("format", trace.format);
  io("selection", trace.selection);
  io("layer", trace.layer);
  io("steps", trace.steps);
  io("least_tokens", trace.least_tokens);
  io("most_tokens", trace.most_tokens);
  io.text("fitting", fitting);
}

template <class Io, class P>
void placement_fields(Io& io, P& placement) {
  io("window", placement.window);
  io("expert_bytes", placement.expert_bytes);
  io("move_us_floor", placement.move_us_floor, 0);
  io.list("steps", placement.steps, [](auto& one, auto& effect) {
    one("max_over_mean_before", effect.before);
    one("max_over_mean_planned", effect.planned);
    one("max_over_mean_oracle", effect.oracle);
    one("moved_experts", effect.moved);
    one("busiest_rank_experts", effect.busiest);
  });
}

/// Null where no gate was looked at: a report of old, a subject without one, a case that was not warmed up.
template <class Io, class R>
void routing_fields(Io& io, R& routing) {
  io.object(
      "routing",
      [&](auto& inner) {
        inner("how", routing.how);
        inner("ranks_per_token", routing.ranks_per_token);
        inner("dropped", routing.dropped);
        std::string fitting = routing.trace_fitting;
        inner.object(
            "trace", [&](auto& trace) { trace_fields(trace, routing.trace, fitting); },
            !routing.trace.name.empty());
        if constexpr (Io::kReads) routing.trace_fitting = fitting;
        inner.object(
            "placement", [&](auto& placement) { placement_fields(placement, routing.placement); },
            !routing.placement.steps.empty());
        inner.list("steps", routing.steps, [](auto& one, auto& step) { step_fields(one, step); });
      },
      !routing.how.empty());
}

}  // namespace moebench
