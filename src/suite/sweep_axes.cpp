// SPDX-License-Identifier: Apache-2.0
#include "suite/sweep_axes.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "suite/axis.h"
#include "suite/presets.h"
#include "suite/suite_file.h"
#include "suite/word.h"

namespace moebench {
namespace {

constexpr std::size_t kMaxCases = 100000;  // a sweep of more would run for days: a typo in an axis

/// Puts `layer` over `base`. A flag also replaces the other way of saying the same thing.
void overlay(Settings& base, const Settings& layer) {
  for (const auto& [name, text] : layer) {
    base.erase(std::string(find_flag(name).replaces));
    base[name] = text;
  }
}

Settings defaults() {
  Settings settings;
  for (const Flag& flag : flags())
    if (!flag.default_value.empty() && !flag.default_of) settings.emplace(flag.name, flag.default_value);
  return settings;
}

struct NamedPreset {
  std::string name;
  Settings settings;
};

/// One without settings if none is asked for.
std::vector<NamedPreset> presets_of(const SweepRequest& request, const Suite& suite) {
  const std::string& given = request.preset.empty() ? suite.preset : request.preset;
  if (given.empty()) return {{}};
  std::vector<NamedPreset> found;
  for (const std::string& part : split(given, ',')) {
    const std::string name(trimmed(part));
    found.push_back({name, settings_of(find_preset(name))});
  }
  return found;
}

void note_overridden(const NamedPreset& preset, const Suite& suite, const Settings& of_case,
                     std::vector<std::string>& notes) {
  const auto sets = [&](std::string_view flag) {
    return suite.settings.contains(flag) || of_case.contains(flag);
  };
  std::vector<std::string> hidden;
  for (const auto& [flag, value] : preset.settings)
    if (sets(flag) || sets(find_flag(flag).replaces)) hidden.push_back(flag);
  if (!hidden.empty())
    notes.push_back(cat("suite ", suite.name, " overrides ", join(hidden, ", "), " of preset ", preset.name));
}

bool asks_for_preset_gate(const Settings& settings) {
  const auto gate = settings.find("gate");
  if (gate == settings.end()) return false;
  const auto words = split(gate->second, ',');
  const auto is_preset = [](const std::string& word) { return trimmed(word) == "preset"; };
  if (std::none_of(words.begin(), words.end(), is_preset)) return false;
  if (words.size() > 1)
    throw UsageError("--gate preset stands alone: it sets the options of the gate as well");
  return true;
}

/// The preset's settings and its gate, with the options that flags may still change.
Settings with_gate(const NamedPreset& preset) {
  if (preset.name.empty()) throw UsageError("--gate preset is the gate of a preset: give --preset as well");
  Settings settings = preset.settings;
  for (const auto& [flag, value] : gate_settings_of(find_preset(preset.name))) settings[flag] = value;
  return settings;
}

/// One for each preset and case of the suite. An axis stands for all its values.
std::vector<Settings> merged(const SweepRequest& request, const Suite& suite,
                             std::vector<std::string>& notes) {
  const auto cases = suite.cases.empty() ? std::vector<Settings>(1) : suite.cases;
  std::vector<Settings> all;
  for (const NamedPreset& preset : presets_of(request, suite)) {
    note_overridden(preset, suite, cases.front(), notes);
    for (const Settings& of_case : cases) {
      const auto laid_over = [&](const Settings& of_preset) {
        Settings settings = defaults();
        for (const Settings* layer : {&request.fallback, &of_preset, &suite.settings, &of_case,
                                      &request.environment, &request.command_line})
          overlay(settings, *layer);
        return settings;
      };
      all.push_back(laid_over(preset.settings));
      if (asks_for_preset_gate(all.back())) {
        const Settings gated = with_gate(preset);
        all.back() = laid_over(gated);
        all.back()["gate"] = gated.at("gate");
      }
    }
  }
  return all;
}

/// Nothing grows.
std::string scaled(const Flag& flag, const std::string& value, double scale) {
  if (flag.scaled_to == 0 || scale == 1.0) return value;
  const std::int64_t full = to_int(value).value();
  const double parts = static_cast<double>(full) * scale / static_cast<double>(flag.scaled_to);
  const auto rounded = static_cast<std::int64_t>(std::round(parts)) * flag.scaled_to;
  return cat(std::min(full, std::max(rounded, flag.scaled_to)));
}

/// In table order.
std::vector<Axis> axes_of(const Settings& settings, double scale) {
  std::vector<Axis> axes;
  for (const Flag& flag : flags()) {
    const auto found = settings.find(flag.name);
    if (found == settings.end()) continue;
    axes.push_back({&flag, expand_axis(flag, found->second)});
    for (std::string& value : axes.back().values) value = scaled(flag, value, scale);
  }
  return axes;
}

void require_few(const std::vector<std::vector<Axis>>& products) {
  std::size_t total = 0;
  for (const auto& axes : products) {
    std::size_t count = 1;
    for (const Axis& axis : axes) {
      count *= axis.values.size();  // cannot overflow: at most kMaxCases x kMaxAxisValues
      if (total + count > kMaxCases)
        throw UsageError(cat("the sweep has more than ", kMaxCases, " cases; shorten an axis"));
    }
    total += count;
  }
}

std::vector<const Flag*> typed_flags(const SweepRequest& request) {
  std::vector<const Flag*> typed;
  for (const Flag& flag : flags())
    if (request.environment.contains(flag.name) || request.command_line.contains(flag.name))
      typed.push_back(&flag);
  return typed;
}

/// "tokens 512,1024 → 64,128": what --scale made of the values that the user typed over those of a suite or preset.
void note_scaled(const SweepRequest& request, const std::vector<const Flag*>& typed,
                 std::vector<std::string>& notes) {
  constexpr std::size_t kShown = 4;
  if (request.suite.empty() && request.preset.empty()) return;
  std::vector<std::string> parts;
  for (const Flag* flag : typed) {
    if (flag->scaled_to == 0) continue;
    const Settings& from =
        request.command_line.contains(flag->name) ? request.command_line : request.environment;
    std::vector<std::string> full = expand_axis(*flag, from.find(flag->name)->second), small;
    for (const std::string& value : full) small.push_back(scaled(*flag, value, request.scale));
    if (small == full) continue;
    if (full.size() > kShown) {
      for (auto* list : {&full, &small}) list->resize(kShown), list->push_back("…");
    }
    parts.push_back(cat(flag->name, " ", join(full, ","), " → ", join(small, ",")));
  }
  if (!parts.empty())
    notes.push_back(cat("--scale ", request.scale, " shrinks what was typed, too: ", join(parts, "; ")));
}

}  // namespace

SweepAxes read_sweep(const SweepRequest& request) {
  const Suite suite = request.suite.empty() ? Suite{} : find_suite(request.suite);
  SweepAxes axes{.suite = suite.name,
                 .typed = typed_flags(request),
                 .filter = parse_filter(request.filter),
                 .filter_text = request.filter,
                 .max_points = request.max_points};
  for (const Settings& settings : merged(request, suite, axes.notes))
    axes.products.push_back(axes_of(settings, request.scale));
  require_few(axes.products);
  note_scaled(request, axes.typed, axes.notes);
  return axes;
}

std::vector<std::string> SweepAxes::values_of(std::string_view flag) const {
  std::vector<std::string> values;
  for (const auto& axes : products)
    for (const Axis& axis : axes) {
      if (axis.flag->name != flag) continue;
      for (const std::string& value : axis.values)
        if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    }
  return values;
}

std::string SweepAxes::only(std::string_view flag) const {
  const auto words = values_of(flag);
  if (words.size() > 1) throw UsageError(cat("--", flag, " takes one value per run, not ", join(words, ",")));
  return words.empty() ? std::string(kAuto) : words.front();
}

std::int64_t SweepAxes::max_ranks() const {
  std::int64_t max = 1;
  for (const auto& axes : products) {
    const auto is = [](std::string_view name) {
      return [name](const Axis& axis) { return axis.flag->name == name; };
    };
    if (std::any_of(axes.begin(), axes.end(), is("as-rank"))) continue;
    const auto ranks = std::find_if(axes.begin(), axes.end(), is("ranks"));
    if (ranks == axes.end()) continue;
    for (const std::string& value : ranks->values) max = std::max(max, to_int(value).value_or(1));
  }
  return max;
}

}  // namespace moebench
