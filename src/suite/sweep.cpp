// SPDX-License-Identifier: Apache-2.0
#include "suite/sweep.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

/// Steps to the next combination, the last axis fastest; false after the last one.
bool advance(std::vector<std::size_t>& at, const std::vector<Axis>& axes) {
  for (std::size_t i = axes.size(); i-- > 0;) {
    if (++at[i] < axes[i].values.size()) return true;
    at[i] = 0;
  }
  return false;
}

/// Puts what the case's subject does not read at its standard value: whatever was asked for, it is the same case.
void forget_unread(Case& point) {
  if (point.subject == SubjectKind::layer) return;
  for (const Flag& flag : flags())
    if (flag.concerns && !flag.concerns(point.subject) && !flag.default_value.empty() &&
        flag.default_value != kAuto)
      flag.write(point, flag.default_value);
  point.shape.experts = std::max(point.shape.experts, point.shape.top_k);
}

/// By the word behind `trace:`: each file is read once for all cases.
using KnownTraces = std::map<std::string, TraceFacts>;

const TraceFacts& facts_of(const std::string& word, KnownTraces& traces) {
  const auto known = traces.find(word);
  return known != traces.end() ? known->second : traces[word] = facts_of(parse_selection(word));
}

/// The product of these axes, without what the filter takes out.
void add_cases(const std::vector<Axis>& axes, std::span<const Condition> filter,
               const RunCapabilities& machine, KnownTraces& traces, std::vector<Case>& cases) {
  std::vector<std::size_t> at(axes.size(), 0);
  do {
    Settings values;
    for (std::size_t i = 0; i < axes.size(); ++i)
      values[std::string(axes[i].flag->name)] = axes[i].values[at[i]];
    Case point = resolve(values, machine);
    // A subject without experts has no engine: whichever was asked for, it is the same case.
    if (point.subject != SubjectKind::layer) point.engine = Case{}.engine;
    if (!matches(point, filter)) continue;
    forget_unread(point);
    if (point.routing.is_trace()) point.trace = facts_of(point.routing.trace, traces);
    cases.push_back(std::move(point));
  } while (advance(at, axes));
}

void drop_duplicates(std::vector<Case>& cases, std::vector<std::string>& notes) {
  std::set<std::vector<std::pair<std::string, std::string>>> seen;
  const auto dropped =
      std::erase_if(cases, [&](const Case& point) { return !seen.insert(point.settings()).second; });
  if (dropped)
    notes.push_back(cat(dropped, dropped == 1 ? " case is" : " cases are", " the same as another: dropped"));
}

void cut(std::vector<Case>& cases, std::size_t max, std::vector<std::string>& notes) {
  if (max == 0 || cases.size() <= max) return;
  notes.push_back(
      cat("--max-points ", max, " drops the last ", cases.size() - max, " of ", cases.size(), " cases"));
  cases.resize(max);
}

/// The flag's value; none where the case's subject does not read it.
std::string shown(const Flag& flag, const Case& point) {
  return flag.concerns && !flag.concerns(point.subject) ? std::string() : flag.read(point);
}

/// Whether the cases that have a value for the flag have different ones.
bool varies(const Flag& flag, const std::vector<Case>& cases) {
  std::set<std::string> values;
  for (const Case& point : cases)
    if (std::string value = shown(flag, point); !value.empty()) values.insert(std::move(value));
  return values.size() > 1;
}

/// Gives each case the axes that vary over `cases`: of the flags that were set, and of those whose default follows from
/// the case. A case has no axis where it has no value.
void name_axes(std::vector<Case>& cases, const SweepAxes& axes) {
  for (Case& point : cases) point.axes.clear();
  for (const Flag& flag : flags()) {
    if ((axes.values_of(flag.name).empty() && !flag.default_of) || !varies(flag, cases)) continue;
    for (Case& point : cases)
      if (std::string value = shown(flag, point); !value.empty())
        point.axes.emplace_back(flag.name, std::move(value));
  }
}

/// Takes out what cannot run: found before the first measurement, it costs nothing, and the rest of a product is still
/// what was asked for.
void leave_out(std::vector<Case>& cases, const RunCapabilities& machine, Sweep& sweep) {
  const std::size_t all = cases.size();
  std::vector<Case> possible;
  for (Case& point : cases) {
    std::string why = machine.why_not ? machine.why_not(point) : why_not(point);
    if (why.empty())
      possible.push_back(std::move(point));
    else
      sweep.left_out.push_back({std::move(point), std::move(why)});
  }
  cases = std::move(possible);
  if (sweep.left_out.empty()) return;
  const auto& [first, why] = sweep.left_out.front();
  if (all == 1) throw UsageError(why);
  if (cases.empty())
    throw UsageError(cat(why, " (in the case '", first.title(), "'; none of the ", all, " cases can run)"));
  const std::size_t out = sweep.left_out.size();
  sweep.notes.push_back(cat(out, " of ", all, " cases cannot run and ", out == 1 ? "is" : "are",
                            " left out; --plan lists all; the first, '", first.title(), "': ", why));
}

/// A flag that was typed and that no case reads is most likely a mistake.
void note_unread(const SweepAxes& axes, Sweep& sweep) {
  for (const Flag* flag : axes.typed)
    if (!flag->reader.empty() && std::all_of(sweep.cases.begin(), sweep.cases.end(),
                                             [&](const Case& point) { return flag->read(point).empty(); }))
      sweep.notes.push_back(cat("--", flag->name, " changes nothing here: only ", flag->reader, " it"));
}

}  // namespace

Sweep expand_sweep(const SweepAxes& axes, const RunCapabilities& machine) {
  Sweep sweep{.notes = axes.notes};
  std::vector<Case>& cases = sweep.cases;
  KnownTraces traces;
  for (const auto& product : axes.products) add_cases(product, axes.filter, machine, traces, cases);
  if (cases.empty()) throw UsageError(cat("--filter '", axes.filter_text, "' leaves no case"));
  drop_duplicates(cases, sweep.notes);
  name_axes(cases, axes);
  leave_out(cases, machine, sweep);
  cut(cases, axes.max_points, sweep.notes);
  name_axes(cases, axes);
  note_unread(axes, sweep);
  return sweep;
}

}  // namespace moebench
