// SPDX-License-Identifier: Apache-2.0
#include "report/table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/text.h"
#include "report/doubts.h"
#include "report/extra_columns.h"
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

/// "68"; "118 !" for a limit that was beaten.
std::string limit_text(double limit_pct) {
  if (std::isnan(limit_pct)) return "–";
  return format("%.0f%s", limit_pct, limit_pct > kDoubtfulLimitPct ? " !" : "");
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
    columns.back().cells.push_back(
        time ? cat(percent_text(median_error_pct(time->device)), missed_target(record) ? " !" : "") : "");
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
  if (any_positive(limits)) {
    columns.push_back({"% of limit", {}});
    for (const double limit : limits) columns.back().cells.push_back(limit_text(limit));
  }
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

/// "±: over 5 processes, which are 1.2 % apart; each alone says ±0.3 %": of the record whose processes differ most.
std::string repetitions_line(std::span<const Record> records) {
  const Record* max = nullptr;
  for (const Record& record : records)
    if (has_times(record) && !record.repetitions.median_us.empty() &&
        (!max || record.repetitions.between_pct > max->repetitions.between_pct))
      max = &record;
  if (!max) return {};
  return cat("±: over ", max->repetitions.median_us.size(), " processes, whose medians differ by ",
             percent_text(max->repetitions.between_pct), " (standard deviation); each alone says ±",
             percent_text(max->repetitions.within_pct), "\n");
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
  text += repetitions_line(records);
  for (const std::string& sentence : doubts_of(records)) text += cat("! ", sentence, "\n");
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

/// One row of the table of stages, cut to `columns`: those of the floor are last.
std::vector<std::string> stage_cells(const StageRecord& stage, double sum_us, const Scale& scale,
                                     const Scale& floor_scale, std::size_t columns) {
  std::vector<std::string> cells{std::string(name_of(stage.pass)), std::string(name_of(stage.stage))};
  if (stage.fused_into) {
    cells.resize(columns - 1, "–");
    cells.push_back(cat("in ", name_of(*stage.fused_into)));
    return cells;
  }
  const bool limited = stage.floor_us > 0 && stage.limit_pct > 0;
  cells.insert(cells.end(), {scale.figures(stage.time.p50), percent_text(median_error_pct(stage.time)),
                             sum_us > 0 ? format("%.1f %%", 100 * stage.time.p50 / sum_us) : "–",
                             limited ? floor_scale.figures(stage.floor_us) : "–",
                             limited ? limit_text(stage.limit_pct) : "–",
                             limited ? std::string(name_of(stage.bound)) : "–"});
  cells.resize(columns, "–");
  return cells;
}

Grid grid_of(const Cells& cells) {
  Grid grid(cells.header);
  for (std::size_t i = 0; i < cells.rows.size(); ++i) {
    grid.add_row(cells.rows[i]);
    if (!cells.notes[i].empty()) grid.add_note(cells.notes[i]);
  }
  return grid;
}

}  // namespace

std::vector<Pairs> varying(std::span<const Record> records) {
  std::vector<Pairs> chosen(records.size()), axes, settings;
  for (const auto& record : records) {
    axes.push_back(record.bench_case.axes);
    settings.push_back(record.bench_case.shown_settings());
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
  for (const auto& record : records) settings.push_back(record.bench_case.shown_settings());
  std::vector<std::string> parts;
  for (const auto& key : keys_of(settings)) {
    std::set<std::string> values;  // of those that have one: a dense network has no gate
    for (const auto& pairs : settings)
      if (const std::string value = value_of(pairs, key); value != "–") values.insert(value);
    if (values.size() == 1) parts.push_back(cat(key, "=", *values.begin()));
  }
  return wrapped(parts, " ", columns);
}

Cells cells_of(std::span<const Record> records, std::span<const std::string> extra) {
  Cells cells;
  if (records.empty()) return cells;
  const auto names = varying(records);
  const auto columns = figures(records);
  for (const auto& [name, value] : names.front()) cells.header.push_back(name);
  for (const auto& column : columns) cells.header.push_back(column.header);
  for (const std::string& column : extra) cells.header.push_back(heading_of(column));
  for (std::size_t i = 0; i < records.size(); ++i) {
    auto& row = cells.rows.emplace_back();
    for (const auto& [name, value] : names[i]) row.push_back(value);
    for (const auto& column : columns) row.push_back(column.cells[i]);
    for (const std::string& column : extra)
      row.push_back(has_times(records[i]) ? cell_of(column, records[i]) : "");
    const std::string& reason = records[i].reason;
    cells.notes.push_back(has_times(records[i]) ? "" : reason.empty() ? "no reason was recorded" : reason);
  }
  return cells;
}

std::string table(std::span<const Record> records, std::size_t wide, std::span<const std::string> extra) {
  if (records.empty()) return {};
  Grid grid = grid_of(cells_of(records, extra));
  const auto left_out =
      fitted(grid, wide, {"sync", "backward", "forward", "% of limit", "TFLOP/s", "GFLOP/s"});
  return caption(records, caption_columns(wide)) + "\n" + grid.text(wide) + "\n" +
         in_columns(left_out + footnotes(records), wide);
}

Cells stage_cells_of(const Record& record) {
  Cells cells;
  if (!has_times(record) || record.stages.empty()) return cells;
  std::vector<double> times, floors;
  bool fused = false;
  for (const auto& stage : record.stages) {
    if (!stage.fused_into) times.push_back(stage.time.p50);
    if (stage.floor_us > 0) floors.push_back(stage.floor_us);
    fused |= stage.fused_into.has_value();
  }
  const Scale scale = time_scale(times), floor_scale = time_scale(floors);
  auto& header = cells.header = {"pass", "stage", cat("time ", scale.unit), "±", "share"};
  if (!floors.empty()) header.insert(header.end(), {cat("floor ", floor_scale.unit), "% of limit"});
  if (!floors.empty() || fused) header.emplace_back("bound");
  const double sum_us = stage_sum(record).us;
  for (const auto& stage : record.stages)
    if (stage.fused_into || stage.time.max > 0)  // one rank has no exchange: what never ran has no row
      cells.rows.push_back(stage_cells(stage, sum_us, scale, floor_scale, header.size()));
  cells.notes.resize(cells.rows.size());
  return cells;
}

std::string stage_table(const Record& record, std::size_t wide) {
  const Cells cells = stage_cells_of(record);
  if (cells.rows.empty()) return {};
  Grid grid = grid_of(cells);
  const auto left_out = fitted(grid, wide, {"bound", "floor", "% of limit", "share"});
  std::string doubts;
  for (const std::string& sentence : stage_doubts_of(record)) doubts += cat("! ", sentence, "\n");
  return cat("stages of ", record.bench_case.title(), ":\n\n", grid.text(wide), "\n",
             in_columns(cat(left_out, "stages one by one: ", time_text(stage_sum(record).us),
                            " in all; the whole, without looking at stages: ",
                            time_text(record.time.at("total").device.p50), "\n", doubts),
                        wide));
}

}  // namespace moebench
