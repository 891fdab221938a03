// SPDX-License-Identifier: Apache-2.0
#include "suite/sweep.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "suite/axis.h"
#include "suite/filter.h"
#include "suite/presets.h"
#include "suite/suite_file.h"

namespace moebench {
namespace {

constexpr std::size_t kMostCases = 100000;  // a sweep of more would run for days: a typo in an axis

/// One value per flag, as typed (or scaled), and the case it makes.
struct Candidate {
  Settings values;
  Case point;
};

/// Puts `layer` over `base`. A flag also replaces the other way of saying the same thing.
void overlay(Settings& base, const Settings& layer) {
  for (const auto& [name, text] : layer) {
    base.erase(std::string(find_flag(name).instead));
    base[name] = text;
  }
}

Settings defaults() {
  Settings settings;
  for (const Flag& flag : flags())
    if (!flag.standard.empty()) settings.emplace(flag.name, flag.standard);
  return settings;
}

Settings merged(const SweepRequest& request, std::vector<std::string>& notes) {
  Settings settings = defaults();
  const Settings preset = request.preset.empty() ? Settings{} : settings_of(find_preset(request.preset));
  const Settings suite = request.suite.empty() ? Settings{} : find_suite(request.suite).settings;
  std::vector<std::string> hidden;
  for (const auto& [flag, value] : preset)
    if (suite.contains(flag) || suite.contains(find_flag(flag).instead)) hidden.push_back(flag);
  if (!hidden.empty())
    notes.push_back(
        cat("suite ", request.suite, " overrides ", join(hidden, ", "), " of preset ", request.preset));
  overlay(settings, preset);
  overlay(settings, suite);
  overlay(settings, request.environment);
  overlay(settings, request.command_line);
  return settings;
}

struct Axis {
  std::string flag;
  std::vector<std::string> values;
};

/// In table order. Throws UsageError if their product is too large.
std::vector<Axis> axes_of(const Settings& settings) {
  std::vector<Axis> axes;
  std::size_t count = 1;
  for (const Flag& flag : flags()) {
    const auto found = settings.find(flag.name);
    if (found == settings.end()) continue;
    axes.push_back({std::string(flag.name), expand_axis(flag, found->second)});
    count *= axes.back().values.size();  // cannot overflow: at most kMostCases x kMostAxisValues
    if (count > kMostCases)
      throw UsageError(cat("the sweep has more than ", kMostCases, " cases; shorten an axis"));
  }
  return axes;
}

/// Steps to the next combination, the last axis fastest; false after the last one.
bool advance(std::vector<std::size_t>& at, const std::vector<Axis>& axes) {
  for (std::size_t i = axes.size(); i-- > 0;) {
    if (++at[i] < axes[i].values.size()) return true;
    at[i] = 0;
  }
  return false;
}

std::vector<Candidate> candidates_of(const SweepRequest& request, const Available& machine,
                                     const std::vector<Axis>& axes) {
  const auto conditions = parse_filter(request.filter);
  std::vector<Candidate> candidates;
  std::vector<std::size_t> at(axes.size(), 0);
  do {
    Candidate candidate;
    for (std::size_t i = 0; i < axes.size(); ++i) candidate.values[axes[i].flag] = axes[i].values[at[i]];
    scale_values(candidate.values, request.scale);
    candidate.point = resolve(candidate.values, machine);
    if (matches(candidate.point, conditions)) candidates.push_back(std::move(candidate));
  } while (advance(at, axes));
  return candidates;
}

void drop_duplicates(std::vector<Candidate>& candidates, std::vector<std::string>& notes) {
  std::set<std::vector<std::pair<std::string, std::string>>> seen;
  const auto dropped = std::erase_if(candidates, [&](const Candidate& candidate) {
    return !seen.insert(candidate.point.settings()).second;
  });
  if (dropped)
    notes.push_back(cat(dropped, dropped == 1 ? " case is" : " cases are", " the same as another: dropped"));
}

void cut(std::vector<Candidate>& candidates, std::size_t most, std::vector<std::string>& notes) {
  if (most == 0 || candidates.size() <= most) return;
  notes.push_back(cat("--max-points ", most, " drops the last ", candidates.size() - most, " of ",
                      candidates.size(), " cases"));
  candidates.resize(most);
}

/// Tells each case which of its flags vary over the candidates.
void name_axes(std::vector<Candidate>& candidates) {
  const Settings& first = candidates.front().values;
  for (const Flag& flag : flags()) {
    if (!first.contains(flag.name)) continue;
    const auto value = [&](const Candidate& c) -> const std::string& {
      return c.values.find(flag.name)->second;
    };
    const bool varies = std::any_of(candidates.begin(), candidates.end(), [&](const Candidate& c) {
      return value(c) != value(candidates.front());
    });
    if (!varies) continue;
    for (Candidate& c : candidates) c.point.axes.emplace_back(flag.name, value(c));
  }
}

/// One impossible case refuses the whole sweep: found before the first measurement, it costs nothing, while a
/// sweep that measures for an hour and ends with holes where nobody expected them does.
void check_all(const std::vector<Candidate>& candidates) {
  for (const Candidate& candidate : candidates) {
    try {
      check_possible(candidate.point);
    } catch (const UsageError& error) {
      if (candidates.size() == 1) throw;
      throw UsageError(cat(error.what(), " (in the case '", candidate.point.title(),
                           "'; nothing was measured; --filter can leave it out)"));
    }
  }
}

}  // namespace

Sweep expand_sweep(const SweepRequest& request, const Available& machine) {
  Sweep sweep;
  auto candidates = candidates_of(request, machine, axes_of(merged(request, sweep.notes)));
  if (candidates.empty()) throw UsageError(cat("--filter '", request.filter, "' leaves no case"));
  drop_duplicates(candidates, sweep.notes);
  cut(candidates, request.max_points, sweep.notes);
  name_axes(candidates);
  check_all(candidates);
  for (Candidate& candidate : candidates) sweep.cases.push_back(std::move(candidate.point));
  return sweep;
}

std::vector<std::string> values_of(const SweepRequest& request, std::string_view flag) {
  std::vector<std::string> notes;
  const Settings settings = merged(request, notes);
  const auto found = settings.find(flag);
  return found == settings.end() ? std::vector<std::string>{} : expand_axis(find_flag(flag), found->second);
}

}  // namespace moebench
