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

/// One for each case of the suite, or one. An axis stands for all its values.
std::vector<Settings> merged(const SweepRequest& request, std::vector<std::string>& notes) {
  const Settings preset = request.preset.empty() ? Settings{} : settings_of(find_preset(request.preset));
  const Suite suite = request.suite.empty() ? Suite{} : find_suite(request.suite);
  const auto cases = suite.cases.empty() ? std::vector<Settings>(1) : suite.cases;
  std::vector<std::string> hidden;
  const auto sets = [&](std::string_view flag) {
    return suite.settings.contains(flag) || cases.front().contains(flag);
  };
  for (const auto& [flag, value] : preset)
    if (sets(flag) || sets(find_flag(flag).instead)) hidden.push_back(flag);
  if (!hidden.empty())
    notes.push_back(
        cat("suite ", request.suite, " overrides ", join(hidden, ", "), " of preset ", request.preset));
  std::vector<Settings> all;
  for (const Settings& of_case : cases) {
    Settings& settings = all.emplace_back(defaults());
    for (const Settings* layer :
         {&request.fallback, &preset, &suite.settings, &of_case, &request.environment, &request.command_line})
      overlay(settings, *layer);
  }
  return all;
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

/// What 'auto' became is what the case is called by. A subject without experts has no engine: whichever was asked for,
/// it is the same case.
void name_engine(Candidate& candidate) {
  if (candidate.point.subject != SubjectKind::layer) candidate.point.engine = Case{}.engine;
  candidate.values["engine"] = candidate.point.engine;
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
    name_engine(candidate);
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
  std::vector<Candidate> candidates;
  for (const Settings& settings : merged(request, sweep.notes))
    for (Candidate& candidate : candidates_of(request, machine, axes_of(settings)))
      candidates.push_back(std::move(candidate));
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
  std::vector<std::string> values;
  for (const Settings& settings : merged(request, notes)) {
    const auto found = settings.find(flag);
    if (found == settings.end()) continue;
    for (std::string& value : expand_axis(find_flag(flag), found->second))
      if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(std::move(value));
  }
  return values;
}

}  // namespace moebench
