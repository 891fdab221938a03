// SPDX-License-Identifier: Apache-2.0
#include "report/extra_columns.h"

#include <algorithm>

#include "base/text.h"
#include "bench/why_not.h"
#include "report/quantity.h"

namespace moebench {
namespace {

struct ExtraColumn {
  std::string_view name, heading;
  std::string (*cell)(const Record&);
};

const Summary& total(const Record& record) { return record.time.at("total").device; }

/// A percentile that too few samples cannot know is a dash, as it is null in the report.
std::string known(double us, int n, int fewest) { return n < fewest ? "–" : time_text(us); }

constexpr ExtraColumn kColumns[] = {
    {"imbalance", "max/mean",
     [](const Record& r) {
       return r.rows_per_expert.mean > 0 ? format("%.2f", r.rows_per_expert.imbalance + 1) : std::string("–");
     }},
    {"dropped", "dropped",
     [](const Record& r) { return r.drops ? format("%.1f %%", r.drops->dropped_pct) : std::string("–"); }},
    {"memory", "peak memory",
     [](const Record& r) {
       return r.memory.peak_bytes > 0 ? size_text(r.memory.peak_bytes) : std::string("–");
     }},
    {"min", "min", [](const Record& r) { return time_text(total(r).min); }},
    {"max", "max", [](const Record& r) { return time_text(total(r).max); }},
    {"p95", "p95", [](const Record& r) { return known(total(r).p95, total(r).n, 20); }},
    {"n", "n", [](const Record& r) { return cat(total(r).n); }},
    {"spread", "ranks/token",
     [](const Record& r) {
       return r.routing.ranks_per_token > 0 ? format("%.2f", r.routing.ranks_per_token) : std::string("–");
     }},
    {"tokens", "tokens/s", [](const Record& r) { return format("%.3g", r.tokens_per_s); }},
};

const ExtraColumn& find(std::string_view name) {
  std::vector<std::string> names;
  for (const ExtraColumn& column : kColumns) {
    if (column.name == name) return column;
    names.emplace_back(column.name);
  }
  throw_unknown("column", name, names);
}

}  // namespace

std::vector<std::string> parse_columns(std::string_view list) {
  std::vector<std::string> names;
  for (const std::string& part : split(list, ',')) names.emplace_back(find(trimmed(part)).name);
  return names;
}

std::string heading_of(const std::string& column) { return std::string(find(column).heading); }

std::string cell_of(const std::string& column, const Record& record) { return find(column).cell(record); }

}  // namespace moebench
