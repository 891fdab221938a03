// SPDX-License-Identifier: Apache-2.0
#include "cli/plan.h"

#include <algorithm>

#include "base/text.h"
#include "bench/subject.h"
#include "bench/why_not.h"
#include "report/quantity.h"

namespace moebench {
namespace {

std::string settings_text(const Case& point) {
  std::string text;
  for (const auto& [flag, value] : point.shown_settings())
    if (!value.empty()) text += cat(" ", flag, "=", value);
  return text;
}

std::string why_skipped(const Case& point, double needed_bytes, const PlanLimits& limits) {
  if (std::string why = why_few_ranks(point.processes(), limits.ranks); !why.empty()) return why;
  const int sharing = limits.shared_memory ? std::min(point.processes(), limits.local_ranks) : 1;
  return why_no_room(needed_bytes, limits.available_bytes / sharing);
}

}  // namespace

void print_plan(std::ostream& out, const Sweep& sweep, const Sampling& sampling, const PlanLimits& limits) {
  int number = 0;
  double sampled_s = 0;
  for (const Case& point : sweep.cases) {
    const double bytes = estimate_memory(point, limits.cache_bytes).total();
    out << ++number << "  " << settings_text(point);
    if (const std::string why = why_skipped(point, bytes, limits); !why.empty()) {
      out << "  skipped: " << why << '\n';
      continue;
    }
    out << "  needs " << size_text(bytes);
    if (sampling.iters > 0 && !sampling.check_only) out << ", " << sampling.iters << " samples";
    if (sampling.iters == 0 && !sampling.check_only)
      out << ", sampled within " << clock_text(sampled_s += sampling.max_time_s);
    out << '\n';
  }
  for (const auto& [point, reason] : sweep.left_out)
    out << "–  " << settings_text(point) << "  left out: " << reason << '\n';
}

}  // namespace moebench
