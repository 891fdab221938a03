// SPDX-License-Identifier: Apache-2.0
#include "report/table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/text.h"
#include "report/grid.h"
#include "report/quantity.h"

namespace moebench {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string value_of(const Pairs& pairs, std::string_view key) {
  for (const auto& [name, value] : pairs)
    if (name == key) return value;
  return "–";
}

/// Every key of any of the lists, in order of first sight.
std::vector<std::string> keys_of(const std::vector<Pairs>& lists) {
  std::vector<std::string> keys;
  std::set<std::string> seen;
  for (const auto& pairs : lists)
    for (const auto& [key, value] : pairs)
      if (seen.insert(key).second) keys.push_back(key);
  return keys;
}

bool varies(const std::vector<Pairs>& lists, const std::string& key) {
  return std::any_of(lists.begin(), lists.end(), [&](const Pairs& pairs) {
    return value_of(pairs, key) != value_of(lists.front(), key);
  });
}

/// Whether some of `chosen` are alike though their `settings` differ in `key`.
bool splits(const std::vector<Pairs>& chosen, const std::vector<Pairs>& settings, const std::string& key) {
  std::map<Pairs, std::string> first;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto value = value_of(settings[i], key);
    if (first.emplace(chosen[i], value).first->second != value) return true;
  }
  return false;
}

const TimeRecord* time_of(const Record& record, const std::string& pass) {
  const auto found = record.time.find(pass);
  return has_times(record) && found != record.time.end() ? &found->second : nullptr;
}

/// A column of figures: what a record has for it, NaN for nothing.
template <class Figure>
std::vector<double> column(std::span<const Record> records, Figure figure) {
  std::vector<double> values;
  for (const auto& record : records) values.push_back(figure(record));
  return values;
}

bool any_positive(const std::vector<double>& values) {
  return std::any_of(values.begin(), values.end(), [](double value) { return value > 0; });
}

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

std::vector<double> medians(std::span<const Record> records, const std::string& pass) {
  return column(records, [&](const Record& record) {
    const TimeRecord* time = time_of(record, pass);
    return time ? time->device.p50 : kNothing;
  });
}

/// The columns right of the axes. `cells[i]` is of record i.
struct Column {
  std::string header;
  std::vector<std::string> cells;
};

Column scaled(const std::string& name, const std::vector<double>& values, const Scale& scale) {
  Column result{name.empty() ? scale.unit : cat(name, " ", scale.unit), {}};
  for (const double value : values) result.cells.push_back(scale.text(value));
  return result;
}

std::vector<Column> figures(std::span<const Record> records) {
  std::vector<Column> columns;
  const auto totals = medians(records, "total");
  columns.push_back(scaled("time", totals, time_scale(totals)));
  for (std::size_t i = 0; i < records.size(); ++i)
    if (!has_times(records[i])) columns[0].cells[i] = name_of(records[i].status);
  columns.push_back({"±", {}});
  for (const auto& record : records) {
    const TimeRecord* time = time_of(record, "total");
    columns.back().cells.push_back(time ? percent_text(median_error_pct(time->device)) : "");
  }
  const bool several = any_positive(medians(records, "backward"));
  for (const char* pass : {"forward", "backward", "sync"})
    if (const auto values = medians(records, pass); several && any_positive(values))
      columns.push_back(scaled(pass, values, time_scale(values)));
  const auto rates = column(records, [](const Record& record) {
    const TimeRecord* time = time_of(record, "total");
    return time ? time->tflops : kNothing;
  });
  if (any_positive(rates)) columns.push_back(scaled("", rates, flops_scale(rates)));
  const auto limits = column(records, [](const Record& record) {
    const TimeRecord* time = time_of(record, "total");
    return time && time->limit_pct > 0 ? time->limit_pct : kNothing;
  });
  if (any_positive(limits)) columns.push_back(scaled("% of", limits, {.unit = "limit"}));
  const auto unchecked = [](const Record& record) { return has_times(record) && is_unchecked(record); };
  if (std::any_of(records.begin(), records.end(), unchecked)) {
    columns.push_back({"check", {}});
    for (const auto& record : records) columns.back().cells.emplace_back(verdict_of(record));
  }
  // What has no time has no figures either: blank, where "–" would say that one is missing.
  for (std::size_t c = 1; c < columns.size(); ++c)
    for (std::size_t i = 0; i < records.size(); ++i)
      if (!has_times(records[i])) columns[c].cells[i].clear();
  return columns;
}

/// "device: 1620–1980 MHz, up to 55 °C, 612 W, 31.2 µJ per token": what is known of it.
std::string device_line(const DeviceRecord& device) {
  if (device.readings == 0) return {};
  std::vector<std::string> parts;
  const auto add = [&](double known, const std::string& text) {
    if (known > 0) parts.push_back(text);
  };
  const bool steady = device.sm_min_mhz == device.sm_max_mhz;
  add(device.sm_max_mhz, steady ? format("%.0f MHz", device.sm_max_mhz)
                                : format("%.0f–%.0f MHz", device.sm_min_mhz, device.sm_max_mhz));
  add(device.temperature_max_c, format("up to %.0f °C", device.temperature_max_c));
  add(device.power_mean_w, format("%.0f W", device.power_mean_w));
  add(device.energy_uj_per_token, format("%.3g µJ per token", device.energy_uj_per_token));
  return cat("device: ", join(parts, ", "), "\n");
}

bool has_flag(const Record& record, std::string_view flag) {
  const auto& flags = record.stop.flags;
  return has_times(record) && std::find(flags.begin(), flags.end(), flag) != flags.end();
}

/// What makes the ± of some records doubtful, a short line each.
std::string doubts_of_samples(std::span<const Record> records) {
  std::string text;
  const auto timed = std::count_if(records.begin(), records.end(), has_times);
  const auto line = [&](std::ptrdiff_t count, const std::string& what) {
    if (count > 0)
      text += timed == 1 ? cat("! ", what, "\n") : cat("! ", what, " (", count, " of ", timed, " points)\n");
  };
  const auto flagged = [&](std::string_view flag) {
    return std::count_if(records.begin(), records.end(), [&](const Record& r) { return has_flag(r, flag); });
  };
  const Record* worst = nullptr;
  for (const Record& record : records)
    if (has_flag(record, "correlated") && (!worst || record.stop.lag1 > worst->stop.lag1)) worst = &record;
  if (worst)
    line(flagged("correlated"),
         format("samples are correlated (%.2f at lag 1): %d are worth %.3g, and ± says so", worst->stop.lag1,
                worst->stop.samples, worst->stop.effective_n));
  line(flagged("drift"), "the level drifts while samples are taken: ± is of this stretch alone");
  line(flagged("bimodal"), "samples have two modes: the median may jump from one to the other");
  line(std::count_if(records.begin(), records.end(),
                     [](const Record& record) {
                       const TimeRecord* time = time_of(record, "total");
                       return time && std::isinf(median_error_pct(time->device));
                     }),
       "±  ?: fewer than 6 samples, or samples worth fewer than 6 independent ones");
  return text;
}

/// "±: over 5 processes, which are 1.2 % apart; each alone says ±0.3 %": of the record whose processes differ most.
std::string repetitions_line(std::span<const Record> records) {
  const Record* most = nullptr;
  for (const Record& record : records)
    if (has_times(record) && !record.repetitions.median_us.empty() &&
        (!most || record.repetitions.between_pct > most->repetitions.between_pct))
      most = &record;
  if (!most) return {};
  return cat("±: over ", most->repetitions.median_us.size(), " processes, whose medians differ by ",
             percent_text(most->repetitions.between_pct), " (standard deviation); each alone says ±",
             percent_text(most->repetitions.within_pct), "\n");
}

std::string footnotes(std::span<const Record> records) {
  std::string text = "time: median; ±: half of its 95 % interval";
  if (std::any_of(records.begin(), records.end(), [](const Record& record) {
        const TimeRecord* time = time_of(record, "total");
        return time && time->limit_pct > 0;
      }))
    text += "; limit: least time at this machine's measured peaks";
  text += "\n";
  if (records.size() == 1 && has_times(records[0])) text += device_line(records[0].device);
  const auto unchecked = std::count_if(records.begin(), records.end(), [](const Record& record) {
    return has_times(record) && is_unchecked(record);
  });
  if (unchecked > 0)
    text += cat("! unchecked: ", unchecked, unchecked == 1 ? " point was" : " points were",
                " measured without checking the result (--check none)\n");
  text += repetitions_line(records) + doubts_of_samples(records);
  std::vector<std::pair<std::string, int>> warnings;  // each sentence once, with the number of points
  for (const auto& record : records)
    for (const auto& sentence : record.warnings) {
      const auto same = [&](const auto& entry) { return entry.first == sentence; };
      const auto found = std::find_if(warnings.begin(), warnings.end(), same);
      if (found == warnings.end())
        warnings.emplace_back(sentence, 1);
      else
        ++found->second;
    }
  for (const auto& [sentence, count] : warnings)
    text += count == 1 ? cat("! ", sentence, "\n") : cat("! ", sentence, " (", count, " points)\n");
  return text;
}

/// Lines of `text` broken between words at `wide` columns; 0: not at all.
std::string in_columns(const std::string& text, std::size_t wide) {
  std::string result;
  for (const auto& line : split(text, '\n'))
    if (!line.empty()) result += broken(line, wide, "  ");
  return result;
}

std::size_t caption_columns(std::size_t wide) {
  constexpr std::size_t kReadable = 100;
  return wide == 0 ? kReadable : std::min(kReadable, wide);
}

/// Makes the grid as narrow as the terminal, `spare` columns first, and says what that cost.
std::string fitted(Grid& grid, std::size_t wide, const std::vector<std::string_view>& spare) {
  if (wide == 0) return {};
  const auto left_out = grid.fit(wide, spare);
  if (left_out.empty()) return {};
  return cat("too narrow for: ", join(left_out, ", "), " (in a pipe and in --csv all are there)\n");
}

}  // namespace

std::vector<Pairs> varying(std::span<const Record> records) {
  std::vector<Pairs> chosen(records.size()), axes, settings;
  for (const auto& record : records) {
    axes.push_back(record.measured.axes);
    settings.push_back(record.measured.settings());
  }
  const auto choose = [&](const std::vector<Pairs>& lists, const std::string& key) {
    for (std::size_t i = 0; i < records.size(); ++i) chosen[i].emplace_back(key, value_of(lists[i], key));
  };
  for (const auto& key : keys_of(axes))
    if (varies(axes, key)) choose(axes, key);
  for (const auto& key : keys_of(settings))
    if (splits(chosen, settings, key)) choose(settings, key);
  return chosen;
}

std::string caption(std::span<const Record> records, std::size_t columns) {
  std::vector<Pairs> settings;
  for (const auto& record : records) settings.push_back(record.measured.settings());
  std::vector<std::string> parts;
  for (const auto& key : keys_of(settings))
    if (!varies(settings, key)) parts.push_back(cat(key, "=", value_of(settings.front(), key)));
  return wrapped(parts, " ", columns);
}

std::string table(std::span<const Record> records, std::size_t wide) {
  if (records.empty()) return {};
  const auto names = varying(records);
  const auto columns = figures(records);
  std::vector<std::string> header;
  for (const auto& [name, value] : names.front()) header.push_back(name);
  for (const auto& column : columns) header.push_back(column.header);
  Grid grid(header);
  for (std::size_t i = 0; i < records.size(); ++i) {
    std::vector<std::string> cells;
    for (const auto& [name, value] : names[i]) cells.push_back(value);
    for (const auto& column : columns) cells.push_back(column.cells[i]);
    grid.add_row(std::move(cells));
    if (has_times(records[i])) continue;
    grid.add_note(records[i].reason.empty() ? "no reason was recorded" : records[i].reason);
  }
  const auto left_out =
      fitted(grid, wide, {"sync", "backward", "forward", "% of limit", "TFLOP/s", "GFLOP/s"});
  return caption(records, caption_columns(wide)) + "\n" + grid.text(wide) + "\n" +
         in_columns(left_out + footnotes(records), wide);
}

std::string stage_table(const Record& record, std::size_t wide) {
  if (!has_times(record) || record.stages.empty()) return {};
  std::vector<double> times, floors;
  double sum = 0;
  for (const auto& stage : record.stages) {
    if (!stage.fused_into) times.push_back(stage.time.p50);
    if (stage.floor_us > 0) floors.push_back(stage.floor_us);
    sum += stage.time.p50;
  }
  const Scale scale = time_scale(times), floor_scale = time_scale(floors);
  Grid grid({"pass", "stage", cat("time ", scale.unit), "share", cat("floor ", floor_scale.unit),
             "% of limit", "bound"});
  for (const auto& stage : record.stages) {
    std::vector<std::string> cells{std::string(name_of(stage.pass)), std::string(name_of(stage.stage))};
    if (stage.fused_into) {
      grid.add_row({cells[0], cells[1], "–", "–", "–", "–", cat("in ", name_of(*stage.fused_into))});
      continue;
    }
    const bool limited = stage.floor_us > 0 && stage.limit_pct > 0;
    grid.add_row({cells[0], cells[1], scale.text(stage.time.p50),
                  sum > 0 ? format("%.1f %%", 100 * stage.time.p50 / sum) : "–",
                  limited ? floor_scale.text(stage.floor_us) : "–",
                  limited ? format("%.0f", stage.limit_pct) : "–",
                  limited ? std::string(name_of(stage.bound)) : "–"});
  }
  const auto left_out = fitted(grid, wide, {"bound", "floor", "% of limit", "share"});
  return cat(record.measured.title(), "\n\n", grid.text(wide), "\n",
             in_columns(cat(left_out, "stages one by one: ", time_text(sum),
                            " in all; the whole, without looking at stages: ",
                            time_text(record.time.at("total").device.p50), "\n"),
                        wide));
}

}  // namespace moebench
