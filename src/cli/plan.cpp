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

std::string why_skipped(const Case& point, const MemoryEstimate& need, const PlanLimits& limits) {
  if (std::string why = why_few_ranks(point.processes(), limits.ranks); !why.empty()) return why;
  const double host = limits.host_bytes / std::min(point.processes(), limits.local_ranks);
  return why_no_room(Room{.device = need.total(), .host = need.host},
                     {.device = limits.available_bytes, .host = host}, limits.shared_memory);
}

}  // namespace

void print_plan(std::ostream& out, const Sweep& sweep, const Sampling& sampling, const Capabilities& backend,
                const PlanLimits& limits) {
  int number = 0;
  double sampled_s = 0;
  for (const Case& point : sweep.cases) {
    const MemoryEstimate need = estimate_memory(point, backend, limits.cache_bytes, sampling.check);
    out << ++number << "  " << settings_text(point);
    if (const std::string why = why_skipped(point, need, limits); !why.empty()) {
      out << "  skipped: " << why << '\n';
      continue;
    }
    out << "  needs " << size_text(need.total() + (limits.shared_memory ? need.host : 0));
    if (sampling.iters > 0 && !sampling.check_only) out << ", " << sampling.iters << " samples";
    if (sampling.iters == 0 && !sampling.check_only)
      out << ", sampled within " << clock_text(sampled_s += sampling.max_time_s);
    out << '\n';
  }
  for (const auto& [point, reason] : sweep.left_out)
    out << "–  " << settings_text(point) << "  left out: " << reason << '\n';
}

}  // namespace moebench
