// SPDX-License-Identifier: Apache-2.0
#include "report/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/text.h"
#include "bench/statistics.h"
#include "report/grid.h"
#include "report/quantity.h"
#include "report/table.h"
#include "suite/flag.h"

namespace moebench {
namespace {

constexpr Words<Verdict, 6> kVerdicts{{{
    {Verdict::same, "same"},
    {Verdict::faster, "faster"},
    {Verdict::slower, "slower"},
    {Verdict::ambiguous, "ambiguous"},
    {Verdict::refused, "refused"},
    {Verdict::missing, "missing"},
}}};

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs key_of(const Record& record, const std::vector<std::string>& ignore) {
  Pairs settings = record.measured.settings();
  std::erase_if(settings, [&](const auto& setting) {
    return std::find(ignore.begin(), ignore.end(), setting.first) != ignore.end();
  });
  return settings;
}

using Index = std::map<Pairs, std::vector<const Record*>>;

Index index_of(const Document& document, const std::vector<std::string>& ignore) {
  Index index;
  for (const auto& record : document.points) index[key_of(record, ignore)].push_back(&record);
  return index;
}

/// "1.2 % faster to 3.0 % slower"
std::string range_text(double low, double high) {
  const auto side = [](double ratio) {
    return ratio < 1 ? percent_text(100 * (1 / ratio - 1)) + " faster"
                     : percent_text(100 * (ratio - 1)) + " slower";
  };
  return cat(side(low), " to ", side(high));
}

void judge(PointComparison& point, const TimeRecord& a, const TimeRecord& b, const CompareOptions& options) {
  point.a_us = a.device.p50;
  point.b_us = b.device.p50;
  if (!(point.a_us > 0) || !(point.b_us > 0)) {
    point.verdict = Verdict::ambiguous;
    point.reason = "a median is zero";
    return;
  }
  point.ratio = point.b_us / point.a_us;
  // Both true medians lie in their intervals: then their ratio lies here.
  point.ratio_low = std::max(0.0, b.device.ci95_low / a.device.ci95_high);
  point.ratio_high = a.device.ci95_low > 0 ? b.device.ci95_high / a.device.ci95_low
                                           : std::numeric_limits<double>::infinity();
  if (!a.samples.empty() && !b.samples.empty()) point.p = rank_test_p(a.samples, b.samples);

  const double limit = 1 + options.threshold_pct / 100;
  const bool disjoint = point.ratio_low > 1 || point.ratio_high < 1;
  const bool significant = disjoint && !(point.p >= options.alpha);
  if (significant && point.ratio > limit) {
    point.verdict = Verdict::slower;
  } else if (significant && point.ratio < 1 / limit) {
    point.verdict = Verdict::faster;
  } else if (point.ratio_low >= 1 / limit && point.ratio_high <= limit) {
    point.verdict = Verdict::same;
  } else {
    point.verdict = Verdict::ambiguous;
    if (a.device.n < 6 || b.device.n < 6)
      point.reason =
          cat("too few samples for an interval: ", a.device.n, " and ", b.device.n, " of at least 6");
    else if (disjoint && point.p >= options.alpha)
      point.reason = format("the intervals are apart but the rank test is not sure: p = %.2g", point.p);
    else
      point.reason = range_text(point.ratio_low, point.ratio_high);
  }
}

bool is_wrong(const Record& record) {
  return record.status == Status::incorrect ||
         (record.check.mode != "none" && !record.check.passed && record.status == Status::ok);
}

std::string lack(const Record& record, std::string_view side) {
  const auto status = is_wrong(record) ? name_of(Status::incorrect) : name_of(record.status);
  return cat(status, " in ", side, record.reason.empty() ? "" : ": ", record.reason);
}

PointComparison compare_points(const Record& a, const std::vector<const Record*>& matches,
                               const CompareOptions& options) {
  PointComparison point;
  if (matches.size() != 1) {
    point.reason = matches.empty() ? std::string("not in B") : cat(matches.size(), " points of B match it");
    return point;
  }
  const Record& b = *matches.front();
  if (is_wrong(a) || is_wrong(b)) {
    point.verdict = Verdict::refused;
    point.reason = is_wrong(b) ? lack(b, "B") : lack(a, "A");
  } else if (!has_times(a) || !has_times(b)) {
    point.reason = has_times(a) ? lack(b, "B") : lack(a, "A");
  } else {
    judge(point, a.time.at("total"), b.time.at("total"), options);
    if (is_unchecked(a) || is_unchecked(b)) {
      point.unchecked = is_unchecked(a) && is_unchecked(b) ? "A and B" : is_unchecked(a) ? "A" : "B";
      point.reason += cat(point.reason.empty() ? "" : "; ", "unchecked in ", point.unchecked);
    }
  }
  return point;
}

void require_valid(const CompareOptions& options) {
  if (!(options.threshold_pct >= 0 && options.threshold_pct < 1e6))
    throw UsageError(cat("threshold ", options.threshold_pct, " is no percentage from 0 up"));
  for (const auto& name : options.ignore) find_flag(name);
}

/// Why nothing matched: settings that have one value in A and another in B.
void explain_no_match(Comparison& comparison, const Document& a, const Document& b) {
  std::map<std::string, std::pair<std::set<std::string>, std::set<std::string>>> values;
  for (const auto& record : a.points)
    for (const auto& [key, value] : record.measured.settings()) values[key].first.insert(value);
  for (const auto& record : b.points)
    for (const auto& [key, value] : record.measured.settings()) values[key].second.insert(value);
  std::vector<std::string> parts;
  const auto listed = [](const std::set<std::string>& words) {
    return words.empty() ? std::string("none") : join({words.begin(), words.end()}, ",");
  };
  for (const auto& [key, sides] : values)
    if (sides.first != sides.second)
      parts.push_back(cat(key, " ", listed(sides.first), " / ", listed(sides.second)));
  comparison.warnings.push_back(
      cat("no point of A is in B", parts.empty() ? "" : "; they differ in: ", join(parts, "; ")));
}

void add_warnings(Comparison& comparison, const Document& a, const Document& b) {
  for (const auto& difference : differences(a, b))
    comparison.warnings.push_back("A and B differ in " + difference);
  int unchecked = 0;
  for (const Document* document : {&a, &b})
    for (const auto& record : document->points) unchecked += has_times(record) && record.check.mode == "none";
  if (unchecked > 0)
    comparison.warnings.push_back(cat(unchecked, " points were measured without checking the result"));
}

}  // namespace

std::string_view name_of(Verdict verdict) { return kVerdicts.name(verdict); }

int Comparison::count(Verdict verdict) const {
  return static_cast<int>(std::count_if(
      points.begin(), points.end(), [&](const PointComparison& point) { return point.verdict == verdict; }));
}

ExitCode Comparison::exit_code() const {
  if (count(Verdict::refused) > 0) return ExitCode::incorrect;
  if (count(Verdict::slower) > 0) return ExitCode::regression;
  const auto lost = [](const PointComparison& point) {
    return point.verdict == Verdict::missing && !point.only_in_b;
  };
  if (mean_ratio == 0 || std::any_of(points.begin(), points.end(), lost)) return ExitCode::partial;
  return ExitCode::ok;
}

Comparison compare(const Document& a, const Document& b, const CompareOptions& options) {
  require_valid(options);
  Comparison comparison{.threshold_pct = options.threshold_pct};
  const Index in_a = index_of(a, options.ignore), in_b = index_of(b, options.ignore);
  std::vector<Record> shown;  // for what tells the points apart
  const auto add = [&](const Record& record, PointComparison point) {
    Record bare;
    bare.measured = record.measured;
    std::erase_if(bare.measured.axes, [&](const auto& axis) {
      return std::find(options.ignore.begin(), options.ignore.end(), axis.first) != options.ignore.end();
    });
    shown.push_back(std::move(bare));
    comparison.points.push_back(std::move(point));
  };
  double logs = 0;
  int compared = 0, matched = 0;
  for (const auto& record : a.points) {
    const auto found = in_b.find(key_of(record, options.ignore));
    auto point =
        compare_points(record, found == in_b.end() ? std::vector<const Record*>{} : found->second, options);
    matched += found != in_b.end();
    if (point.ratio > 0) {
      logs += std::log(point.ratio);
      ++compared;
    }
    add(record, std::move(point));
  }
  for (const auto& record : b.points)
    if (!in_a.contains(key_of(record, options.ignore)))
      add(record, {.reason = "not in A", .only_in_b = true});
  if (compared > 0) comparison.mean_ratio = std::exp(logs / compared);
  const auto names = varying(shown);
  for (std::size_t i = 0; i < names.size(); ++i) comparison.points[i].settings = names[i];
  if (matched == 0) explain_no_match(comparison, a, b);
  add_warnings(comparison, a, b);
  return comparison;
}

std::string text_of(const Comparison& comparison) {
  std::string text;
  for (const auto& sentence : comparison.warnings) text += cat("! ", sentence, "\n");
  if (comparison.points.empty()) return text + "nothing to compare\n";
  std::vector<double> times;
  for (const auto& point : comparison.points) times.insert(times.end(), {point.a_us, point.b_us});
  const Scale scale = time_scale(times);
  std::vector<std::string> header;
  for (const auto& [name, value] : comparison.points.front().settings) header.push_back(name);
  for (const auto& name : {cat("A ", scale.unit), cat("B ", scale.unit), std::string("B/A"),
                           std::string("low"), std::string("high"), std::string("verdict")})
    header.push_back(name);
  Grid grid(header);
  for (const auto& point : comparison.points) {
    std::vector<std::string> cells;
    for (const auto& [name, value] : point.settings) cells.push_back(value);
    const auto ratio = [&](double value) {
      return point.ratio > 0 && std::isfinite(value) ? format("%.3f", value) : std::string("–");
    };
    cells.push_back(point.ratio > 0 ? scale.text(point.a_us) : "–");
    cells.push_back(point.ratio > 0 ? scale.text(point.b_us) : "–");
    cells.insert(cells.end(), {ratio(point.ratio), ratio(point.ratio_low), ratio(point.ratio_high)});
    cells.push_back(std::string(name_of(point.verdict)));
    grid.add_row(std::move(cells));
    if (!point.reason.empty()) grid.add_note(point.reason);
  }
  std::vector<std::string> counts;
  for (const auto& [verdict, word] : kVerdicts.entries)
    if (const int count = comparison.count(verdict)) counts.push_back(cat(count, " ", word));
  text += (text.empty() ? "" : "\n") + grid.text() + "\n" + join(counts, ", ");
  text += format(" (threshold %.3g %%)", comparison.threshold_pct);
  if (comparison.mean_ratio > 0) text += format("; geometric mean of B/A %.3f", comparison.mean_ratio);
  return text + "\n";
}

}  // namespace moebench
