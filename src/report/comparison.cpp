// SPDX-License-Identifier: Apache-2.0
#include "report/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "base/text.h"
#include "report/comparison_sides.h"
#include "report/comparison_steps.h"
#include "report/table.h"
#include "suite/flag.h"

namespace moebench {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;
using Documents = std::span<const Document>;

/// One point of one side: its record in each report, null where a report lacks it.
struct Side {
  std::vector<const Record*> records;
  int max_in_one = 0;  ///< more than one record of a report that match
};

/// The points of a side in the order in which they are first seen.
struct Points {
  std::vector<Pairs> keys;
  std::map<Pairs, Side> sides;
};

Pairs without(Pairs settings, const std::vector<std::string>& ignore) {
  std::erase_if(settings, [&](const auto& setting) {
    return std::find(ignore.begin(), ignore.end(), setting.first) != ignore.end();
  });
  return settings;
}

/// A trace is what it holds: the same file may lie elsewhere.
Pairs key_of(const Record& record) {
  Pairs settings = record.bench_case.shown_settings();
  if (!record.routing.trace.sha256.empty())
    for (auto& [flag, value] : settings)
      if (flag == "routing") value = content_of(record.routing.trace);
  return settings;
}

/// Reports of old measured a dense network once for each setting that it does not read.
bool is_same_again(const Record& record, const Record& before, const std::vector<std::string>& ignore) {
  return without(record.bench_case.settings(), ignore) != without(before.bench_case.settings(), ignore);
}

Points points_of(Documents documents, const CompareOptions& options) {
  Points points;
  for (std::size_t at = 0; at < documents.size(); ++at) {
    std::map<Pairs, int> here;
    for (const Record& record : documents[at].points) {
      if (!matches(record.bench_case, options.filter)) continue;
      const Pairs key = without(key_of(record), options.ignore);
      const auto [found, is_new] = points.sides.try_emplace(key);
      if (here.contains(key) && is_same_again(record, *found->second.records[at], options.ignore)) continue;
      if (is_new) points.keys.push_back(key);
      found->second.records.resize(documents.size());
      found->second.records[at] = &record;
      found->second.max_in_one = std::max(found->second.max_in_one, ++here[key]);
    }
  }
  return points;
}

const Record& any_of(const Side& side) {
  return **std::find_if(side.records.begin(), side.records.end(),
                        [](const Record* record) { return record; });
}

bool is_wrong(const Record& record) {
  return record.status == Status::incorrect ||
         (record.check.mode != "none" && !record.check.passed && record.status == Status::ok);
}

std::string lack(const Record& record, std::string_view side) {
  const auto status = is_wrong(record) ? name_of(Status::incorrect) : name_of(record.status);
  return cat(status, " in ", side, record.reason.empty() ? "" : ": ", record.reason);
}

/// The records that have times; those of `paired` sides only where both have.
using Timed = std::vector<const Record*>;

std::pair<Timed, Timed> timed_of(const Side& a, const Side& b, bool paired) {
  std::pair<Timed, Timed> timed;
  const auto has = [](const Record* record) { return record && has_times(*record); };
  for (std::size_t i = 0; i < a.records.size(); ++i)
    if (has(a.records[i]) && (!paired || has(b.records[i]))) timed.first.push_back(a.records[i]);
  for (std::size_t i = 0; i < b.records.size(); ++i)
    if (has(b.records[i]) && (!paired || has(a.records[i]))) timed.second.push_back(b.records[i]);
  return timed;
}

const StageRecord* stage_of(const Record& record, const StageRecord& like) {
  for (const StageRecord& stage : record.stages)
    if (stage.stage == like.stage && stage.pass == like.pass && !stage.fused_into && stage.time.n > 0)
      return &stage;
  return nullptr;
}

/// Judges what `time_of` finds in the records; null where one lacks it. Nothing if one side lacks it everywhere.
template <class TimeOf>
std::optional<Judgement> judge(const Timed& a, const Timed& b, const CompareOptions& options,
                               TimeOf time_of) {
  const JudgeOptions rule{options.threshold_pct, options.alpha};
  if (a.size() == 1 && b.size() == 1) {
    const auto in_a = time_of(*a[0]), in_b = time_of(*b[0]);
    if (!in_a.first || !in_b.first) return std::nullopt;
    return judge_samples(*in_a.first, in_a.second, *in_b.first, in_b.second, rule);
  }
  std::vector<double> medians_a, medians_b;
  const auto collect = [&](const Timed& records, std::vector<double>& medians) {
    for (const Record* record : records)
      if (const auto time = time_of(*record); time.first) medians.push_back(time.first->p50);
    return medians.size() == records.size() && !medians.empty();
  };
  if (!collect(a, medians_a) || !collect(b, medians_b)) return std::nullopt;
  return judge_processes(medians_a, medians_b, options.paired, rule);
}

using Found = std::pair<const Summary*, std::span<const double>>;

auto pass_named(const std::string& name) {
  return [name](const Record& record) -> Found {
    const auto found = record.time.find(name);
    if (found == record.time.end()) return {};
    return {&found->second.device, found->second.samples};
  };
}

/// The whole: of several reports a side, of one whose points are several processes each, or of one process.
Judgement judge_whole(const Timed& a, const Timed& b, const CompareOptions& options) {
  if (a.size() == 1 && b.size() == 1 && !a[0]->repetitions.median_us.empty() &&
      !b[0]->repetitions.median_us.empty())
    return judge_processes(a[0]->repetitions.median_us, b[0]->repetitions.median_us, false,
                           {options.threshold_pct, options.alpha});
  return judge(a, b, options, pass_named("total")).value();
}

void judge_parts(PointComparison& point, const Timed& a, const Timed& b, const CompareOptions& options) {
  for (const char* pass : {"forward", "backward", "sync"})
    if (auto judged = judge(a, b, options, pass_named(pass)))
      point.passes.push_back({pass, std::move(*judged)});
  if (point.passes.size() == 1) point.passes.clear();  // the whole, once more
  for (const StageRecord& like : a[0]->stages) {
    auto judged = judge(a, b, options, [&](const Record& record) -> Found {
      const StageRecord* stage = stage_of(record, like);
      return {stage ? &stage->time : nullptr, {}};
    });
    if (judged && judged->ratio > 0)
      point.stages.push_back({cat(name_of(like.pass), " ", name_of(like.stage)), std::move(*judged)});
  }
}

/// A whole that is the same although its passes or routing steps are not hides what happened.
void look_at_parts(PointComparison& point) {
  if (point.verdict != Verdict::same) return;
  std::vector<std::string> moved, what;
  for (const auto& [parts, name] : {std::pair(&point.passes, "passes"), std::pair(&point.steps, "steps")}) {
    const std::size_t before = moved.size();
    for (const PartComparison& part : *parts)
      if (part.judged.verdict == Verdict::slower || part.judged.verdict == Verdict::faster)
        moved.push_back(format("%s %s: %.3f", part.name.c_str(),
                               std::string(name_of(part.judged.verdict)).c_str(), part.judged.ratio));
    if (moved.size() > before) what.emplace_back(name);
  }
  if (moved.empty()) return;
  point.verdict = Verdict::mixed;
  point.reason = cat("the whole is the same, its ", join(what, " and "), " are not: ", join(moved, ", "));
}

/// The median over a side's reports of one peak; 0 if none has it.
double peak_of(Documents documents, const Record& record, double Peaks::*field) {
  std::vector<double> values;
  for (const Document& document : documents)
    for (const Peaks& peaks : document.peaks)
      if (peaks.dtype == record.bench_case.shape.dtype && peaks.ranks == record.bench_case.processes() &&
          peaks.threads == record.bench_case.threads && peaks.*field > 0)
        values.push_back(peaks.*field);
  std::sort(values.begin(), values.end());
  return percentile(values, 50);
}

/// Where one machine, or two that call themselves alike, gave peaks more than 10 % apart: "copy 14.9 / 26.0 GB/s".
std::string peaks_apart(Documents a, Documents b, const Record& record) {
  struct Field {
    double Peaks::*value;
    const char *name, *unit;
  };
  constexpr double kApart = 1.1;
  std::vector<std::string> apart;
  for (const Field field : {Field{&Peaks::gemm_tflops, "matrix product", "TFLOP/s"},
                            {&Peaks::copy_gbs, "copy", "GB/s"},
                            {&Peaks::link_gbs, "link", "GB/s"}}) {
    const double in_a = peak_of(a, record, field.value), in_b = peak_of(b, record, field.value);
    if (in_a > 0 && in_b > 0 && std::max(in_a, in_b) > kApart * std::min(in_a, in_b))
      apart.push_back(format("%s %.3g / %.3g %s", field.name, in_a, in_b, field.unit));
  }
  return join(apart, ", ");
}

bool drifts(const Record& record) {
  return std::find(record.stop.flags.begin(), record.stop.flags.end(), "drift") != record.stop.flags.end();
}

/// Two single processes are not judged where something else than the build may have made the difference.
void abstain(PointComparison& point, const Record& a, const Record& b, Documents in_a, Documents in_b) {
  std::vector<std::string> doubts;
  if (const auto apart = peaks_apart(in_a, in_b, a); !apart.empty())
    doubts.push_back("the machines' own peaks differ: " + apart);
  for (const auto& [record, side] : {std::pair(&a, "A"), std::pair(&b, "B")})
    if (drifts(*record)) doubts.push_back(cat("samples drift in ", side));
  if (point.verdict !=
      Verdict::same)  // an interval within the threshold is narrow enough, whatever was asked for
    for (const auto& [record, side] : {std::pair(&a, "A"), std::pair(&b, "B")})
      if (!record->stop.unmet.empty())
        doubts.push_back(cat(side, " missed its target: ", record->stop.unmet));
  if (doubts.empty() || point.ratio == 0) return;
  if (point.verdict == Verdict::ambiguous) doubts.insert(doubts.begin(), point.reason);
  point.verdict = Verdict::ambiguous;
  point.reason = "repeat in turns: " + join(doubts, "; ");
}

/// Says which sides were measured without a check; the point is judged all the same.
void say_unchecked(PointComparison& point, const Timed& a, const Timed& b) {
  const auto any = [](const Timed& records) {
    return std::any_of(records.begin(), records.end(), [](const Record* r) { return is_unchecked(*r); });
  };
  if (!any(a) && !any(b)) return;
  point.unchecked = any(a) && any(b) ? "A and B" : any(a) ? "A" : "B";
  point.reason += cat(point.reason.empty() ? "" : "; ", "unchecked in ", point.unchecked);
}

PointComparison compare_points(const Side& a, const Side* b, Documents in_a, Documents in_b,
                               const CompareOptions& options) {
  PointComparison point;
  if (!b || b->max_in_one > 1 || a.max_in_one > 1) {
    point.reason = !b                  ? std::string("not in B")
                   : b->max_in_one > 1 ? cat(b->max_in_one, " points of B match it")
                                       : cat(a.max_in_one, " points of A match it");
    return point;
  }
  for (const auto& [side, name] : {std::pair(b, "B"), std::pair(&a, "A")})
    for (const Record* record : side->records)
      if (record && is_wrong(*record)) {
        point.verdict = Verdict::refused;
        point.reason = lack(*record, name);
        return point;
      }
  const auto [timed_a, timed_b] = timed_of(a, *b, options.paired);
  if (timed_a.empty() || timed_b.empty()) {
    point.reason = timed_b.empty() ? lack(any_of(*b), "B") : lack(any_of(a), "A");
    return point;
  }
  static_cast<Judgement&>(point) = judge_whole(timed_a, timed_b, options);
  judge_parts(point, timed_a, timed_b, options);
  point.steps = judge_steps(timed_a, timed_b, options);
  look_at_parts(point);
  if (point.processes_a == 1 && point.processes_b == 1) abstain(point, *timed_a[0], *timed_b[0], in_a, in_b);
  say_unchecked(point, timed_a, timed_b);
  return point;
}

void require_valid(const CompareOptions& options, Documents a, Documents b) {
  if (!(options.threshold_pct >= 0 && options.threshold_pct < 1e6))
    throw UsageError(cat("threshold ", options.threshold_pct, " is no percentage from 0 up"));
  for (const auto& name : options.ignore) find_flag(name);
  if (options.paired && a.size() != b.size())
    throw UsageError(
        cat("in turns there are as many reports of A as of B, not ", a.size(), " and ", b.size()));
}

/// Why nothing matched: settings that have one value in A and another in B.
void explain_no_match(Comparison& comparison, const Points& a, const Points& b) {
  std::map<std::string, std::pair<std::set<std::string>, std::set<std::string>>> values;
  for (const Pairs& settings : a.keys)
    for (const auto& [key, value] : settings) values[key].first.insert(value);
  for (const Pairs& settings : b.keys)
    for (const auto& [key, value] : settings) values[key].second.insert(value);
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

}  // namespace

int Comparison::count(Verdict verdict) const {
  return static_cast<int>(std::count_if(
      points.begin(), points.end(), [&](const PointComparison& point) { return point.verdict == verdict; }));
}

ExitCode Comparison::exit_code() const {
  if (count(Verdict::refused) > 0) return ExitCode::incorrect;
  const auto has_slower = [](const std::vector<PartComparison>& parts) {
    return std::any_of(parts.begin(), parts.end(),
                       [](const PartComparison& part) { return part.judged.verdict == Verdict::slower; });
  };
  const auto slower = [&](const PointComparison& point) {
    return point.verdict == Verdict::slower ||
           (point.verdict == Verdict::mixed && (has_slower(point.passes) || has_slower(point.steps)));
  };
  if (std::any_of(points.begin(), points.end(), slower)) return ExitCode::regression;
  const auto lost = [](const PointComparison& point) {
    return point.verdict == Verdict::missing && !point.only_in_b;
  };
  if (mean_ratio == 0 || std::any_of(points.begin(), points.end(), lost)) return ExitCode::partial;
  return ExitCode::ok;
}

Comparison compare(const Document& a, const Document& b, const CompareOptions& options) {
  return compare(Documents(&a, 1), Documents(&b, 1), options);
}

Comparison compare(Documents a, Documents b, const CompareOptions& options) {
  require_valid(options, a, b);
  Comparison comparison{.threshold_pct = options.threshold_pct};
  const Points in_a = points_of(a, options), in_b = points_of(b, options);
  std::vector<Record> shown;  // for what tells the points apart
  const auto add = [&](const Side& side, PointComparison point) {
    Record bare;
    bare.bench_case = any_of(side).bench_case;
    std::erase_if(bare.bench_case.axes, [&](const auto& axis) {
      return std::find(options.ignore.begin(), options.ignore.end(), axis.first) != options.ignore.end();
    });
    shown.push_back(std::move(bare));
    comparison.points.push_back(std::move(point));
  };
  double logs = 0;
  int compared = 0, matched = 0;
  for (const Pairs& key : in_a.keys) {
    const auto found = in_b.sides.find(key);
    const Side* other = found == in_b.sides.end() ? nullptr : &found->second;
    auto point = compare_points(in_a.sides.at(key), other, a, b, options);
    matched += other != nullptr;
    if (point.ratio > 0) {
      logs += std::log(point.ratio);
      ++compared;
    }
    add(in_a.sides.at(key), std::move(point));
  }
  for (const Pairs& key : in_b.keys)
    if (!in_a.sides.contains(key)) {
      PointComparison point;
      point.reason = "not in A";
      point.only_in_b = true;
      add(in_b.sides.at(key), std::move(point));
    }
  if (compared > 0) comparison.mean_ratio = std::exp(logs / compared);
  const auto names = varying(shown);
  for (std::size_t i = 0; i < names.size(); ++i) comparison.points[i].settings = names[i];
  if (matched == 0) explain_no_match(comparison, in_a, in_b);
  describe_sides(comparison, a, b, options);
  return comparison;
}

}  // namespace moebench
