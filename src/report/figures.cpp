// SPDX-License-Identifier: Apache-2.0
#include "report/figures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/text.h"
#include "report/doubts.h"
#include "report/grid.h"
#include "report/quantity.h"
#include "report/svg.h"
#include "report/table.h"

namespace moebench {
namespace {

constexpr double kWidth = 900, kLabelWidth = 250, kFigureWidth = 110, kCharacter = 6.8;
constexpr std::size_t kMaxBars = 60;
// Okabe and Ito: distinguishable with every kind of colour vision.
constexpr std::array kColours{"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                              "#56B4E9", "#E69F00", "#7a7a7a", "#000000"};
constexpr const char* kGrid = "grid";
constexpr const char* kInk = "ink";

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// "experts 8 · loop": what tells the record from the others, but for `but`.
std::string label_of(const Pairs& names, std::string_view but = "") {
  std::vector<std::string> parts;
  for (const auto& [name, value] : names) {
    if (name == but || value == "–") continue;
    parts.push_back(to_int(value) || value == "on" || value == "off" ? cat(name, " ", value) : value);
  }
  return join(parts, " · ");
}

const TimeRecord& total_of(const Record& record) { return record.time.at("total"); }

/// A step of 1, 2 or 5 times a power of ten that divides [0, most] into at most six parts.
double tick_step(double max) {
  const double raw = max / 6, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

std::string tick_text(double value) { return format("%.6g", value); }

std::vector<Record> timed_of(std::span<const Record> records) {
  std::vector<Record> timed;
  for (const Record& record : records)
    if (has_times(record) && timed.size() < kMaxBars) timed.push_back(record);
  return timed;
}

bool is_doubtful(const Record& record) {
  return missed_target(record) || is_unchecked(record) || total_of(record).limit_pct > kDoubtfulLimitPct;
}

/// Vertical lines at round values of [0, most] with the values below them.
void draw_scale(Svg& svg, double left, double right, double top, double bottom, double max) {
  const double step = tick_step(max);
  for (double at = 0; at <= max * 1.0001; at += step) {
    const double x = left + (right - left) * at / max;
    svg.line(x, top, x, bottom, kGrid);
    svg.text(x, bottom + 15, tick_text(at), "middle", "small");
  }
}

/// A row of coloured squares with words from `x` on.
void draw_legend(Svg& svg, double x, double y,
                 const std::vector<std::pair<std::string, std::string>>& entries) {
  for (const auto& [colour, word] : entries) {
    svg.rectangle(x, y - 9, 11, 11, cat("fill:", colour));
    svg.text(x + 16, y, word, "start", "small");
    x += 16 + kCharacter * static_cast<double>(display_width(word)) + 18;
  }
}

double end_of(const Record& record) {
  const TimeRecord& total = total_of(record);
  const double high = std::isfinite(total.device.ci95_high) ? total.device.ci95_high : 0;
  return std::max({total.device.p50, high, total.floor_us});
}

}  // namespace

std::string time_figure(std::span<const Record> all) {
  const auto records = timed_of(all);
  if (records.empty()) return {};
  const auto names = varying(records);
  double max = 0;
  for (const Record& record : records) max = std::max(max, end_of(record));
  const Scale scale = time_scale({&max, 1});
  constexpr double kRow = 22, kTop = 30;
  const double left = kLabelWidth, right = kWidth - kFigureWidth;
  const double bottom = kTop + kRow * static_cast<double>(records.size());
  Svg svg(kWidth, bottom + 38);
  draw_legend(
      svg, left, 14,
      {{kColours[0], "median, with its 95 % interval"}, {"#7a7a7a", "least time at the measured peaks"}});
  draw_scale(svg, left, right, kTop, bottom, max / scale.unit_size);
  const auto place = [&](double us) { return left + (right - left) * us / max; };
  for (std::size_t i = 0; i < records.size(); ++i) {
    const TimeRecord& total = total_of(records[i]);
    const double y = kTop + kRow * static_cast<double>(i), middle = y + kRow / 2;
    const std::string label = label_of(names[i]);
    svg.text(left - 8, middle + 4, shortened(label.empty() ? "time" : label, 35), "end");
    svg.rectangle(left, y + 4, place(total.device.p50) - left, kRow - 8, cat("fill:", kColours[0]), label);
    if (total.floor_us > 0)
      svg.line(place(total.floor_us), y + 2, place(total.floor_us), y + kRow - 2, "floor");
    if (std::isfinite(total.device.ci95_high))
      svg.line(place(total.device.ci95_low), middle, place(total.device.ci95_high), middle, kInk);
    svg.text(right + 8, middle + 4, cat(time_text(total.device.p50), is_doubtful(records[i]) ? " !" : ""),
             "start", is_doubtful(records[i]) ? "doubt" : "");
  }
  svg.text((left + right) / 2, bottom + 33, cat("time, ", scale.unit), "middle", "small");
  return svg.text_of("Median time of each point, with its interval");
}

namespace {

/// The number that varies most, with its value in each record; empty where none has three values.
struct NumberAxis {
  std::string name;
  std::vector<double> values;
};

NumberAxis number_axis(const std::vector<Pairs>& names) {
  NumberAxis best;
  std::size_t max = 2;
  for (std::size_t column = 0; column < names.front().size(); ++column) {
    NumberAxis axis{names.front()[column].first, {}};
    for (const Pairs& pairs : names)
      if (const auto number = to_int(pairs[column].second))
        axis.values.push_back(static_cast<double>(*number));
    const std::size_t distinct = std::set<double>(axis.values.begin(), axis.values.end()).size();
    if (axis.values.size() < names.size() || distinct <= max) continue;
    max = distinct;
    best = axis;
  }
  return best;
}

struct Curve {
  std::vector<std::pair<double, const Record*>> points;  ///< by the axis
};

/// Where values of an axis lie: by their logarithm where they span a factor of eight.
class Place {
 public:
  Place(const std::vector<double>& values, double left, double right) : left_(left), right_(right) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    log_ = *low > 0 && *high / *low >= 8;
    low_ = at(*low);
    high_ = at(*high);
  }
  double operator()(double value) const {
    return left_ + (right_ - left_) * (at(value) - low_) / (high_ - low_);
  }

 private:
  double at(double value) const { return log_ ? std::log2(value) : value; }
  double left_, right_, low_ = 0, high_ = 1;
  bool log_ = false;
};

void draw_curve(Svg& svg, const Curve& curve, const std::string& colour, const Place& x,
                const std::function<double(double)>& y) {
  const std::string stroke = cat("stroke:", colour, ";stroke-width:2");
  for (std::size_t i = 0; i < curve.points.size(); ++i) {
    const auto& [value, record] = curve.points[i];
    const TimeRecord& total = total_of(*record);
    if (i > 0)
      svg.line(x(curve.points[i - 1].first), y(total_of(*curve.points[i - 1].second).tflops), x(value),
               y(total.tflops), stroke);
    if (std::isfinite(total.device.ci95_high) && total.device.ci95_low > 0)
      svg.line(x(value), y(total.flops / total.device.ci95_high * 1e-6), x(value),
               y(total.flops / total.device.ci95_low * 1e-6), stroke);
    svg.circle(x(value), y(total.tflops), 3.5, cat("fill:", colour),
               cat(record->bench_case.title(), ": ", time_text(total.device.p50)));
  }
}

}  // namespace

std::string curve_figure(std::span<const Record> all) {
  const auto records = timed_of(all);
  if (records.size() < 3) return {};
  const auto names = varying(records);
  const NumberAxis axis = number_axis(names);
  if (axis.name.empty()) return {};
  std::map<std::string, Curve> curves;
  double max = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const TimeRecord& total = total_of(records[i]);
    curves[label_of(names[i], axis.name)].points.emplace_back(axis.values[i], &records[i]);
    max =
        std::max(max, total.device.ci95_low > 0 ? total.flops / total.device.ci95_low * 1e-6 : total.tflops);
  }
  if (curves.size() > kColours.size() || max <= 0) return {};
  const Scale scale = flops_scale({&max, 1});
  constexpr double kLeft = 70, kTop = 30, kBottom = 290, kRight = kWidth - 20;
  Svg svg(kWidth, kBottom + 40);
  const double step = tick_step(max / scale.unit_size);
  const auto y = [&](double tflops) { return kBottom - (kBottom - kTop) * tflops / (max * 1.05); };
  for (double at = 0; at <= max / scale.unit_size * 1.05; at += step) {
    svg.line(kLeft, y(at * scale.unit_size), kRight, y(at * scale.unit_size), kGrid);
    svg.text(kLeft - 6, y(at * scale.unit_size) + 4, tick_text(at), "end", "small");
  }
  const Place x(axis.values, kLeft + 20, kRight - 20);
  double last = -1e9;
  for (const double value : std::set<double>(axis.values.begin(), axis.values.end())) {
    if (x(value) - last < 40) continue;  // labels never touch
    svg.text(last = x(value), kBottom + 15, tick_text(value), "middle", "small");
  }
  std::vector<std::pair<std::string, std::string>> legend;
  for (auto& [label, curve] : curves) {
    std::sort(curve.points.begin(), curve.points.end());
    legend.emplace_back(kColours[legend.size()], label.empty() ? std::string("measured") : label);
    draw_curve(svg, curve, legend.back().first, x, y);
  }
  draw_legend(svg, kLeft, 14, legend);
  svg.text((kLeft + kRight) / 2, kBottom + 34, axis.name, "middle", "small");
  svg.text(kLeft - 6, kTop - 14, scale.unit, "end", "small");
  return svg.text_of(cat("Rate against ", axis.name));
}

std::string stage_figure(std::span<const Record> all) {
  std::vector<Record> records;
  for (const Record& record : timed_of(all))
    if (!record.stages.empty()) records.push_back(record);
  if (records.empty()) return {};
  const auto names = varying(records);
  double max = 0;
  std::set<Stage> seen;
  for (const Record& record : records) {
    max = std::max({max, stage_sum(record).us, total_of(record).device.p50});
    for (const StageRecord& stage : record.stages)
      if (stage.time.p50 > 0) seen.insert(stage.stage);
  }
  const Scale scale = time_scale({&max, 1});
  constexpr double kRow = 26, kTop = 34;
  const double left = kLabelWidth, right = kWidth - kFigureWidth;
  const double bottom = kTop + kRow * static_cast<double>(records.size());
  Svg svg(kWidth, bottom + 38);
  std::vector<std::pair<std::string, std::string>> legend;
  for (const Stage stage : seen) legend.emplace_back(stage_info(stage).colour, std::string(name_of(stage)));
  draw_legend(svg, 8, 14, legend);
  draw_scale(svg, left, right, kTop, bottom, max / scale.unit_size);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const double y = kTop + kRow * static_cast<double>(i);
    double x = left;
    bool beaten = false;
    for (const StageRecord& stage : records[i].stages) {
      if (stage.fused_into) continue;
      const bool doubtful = stage.limit_pct > kDoubtfulLimitPct;
      const double width = (right - left) * stage.time.p50 / max;
      svg.rectangle(x, y + 4, width, kRow - 8,
                    cat("fill:", stage_info(stage.stage).colour,
                        stage.pass == Pass::backward ? ";fill-opacity:0.6" : "",
                        doubtful ? ";stroke:#d00000;stroke-width:2" : ""),
                    cat(name_of(stage.pass), " ", name_of(stage.stage), ": ", time_text(stage.time.p50),
                        stage.limit_pct > 0 ? format(", %.0f %% of limit", stage.limit_pct) : ""));
      x += width;
      beaten |= doubtful;
    }
    const double whole = left + (right - left) * total_of(records[i]).device.p50 / max;
    svg.line(whole, y + 1, whole, y + kRow - 1, kInk);
    const std::string label = label_of(names[i]);
    svg.text(left - 8, y + kRow / 2 + 4, shortened(label.empty() ? "stages" : label, 35), "end");
    svg.text(right + 8, y + kRow / 2 + 4, cat(time_text(total_of(records[i]).device.p50), beaten ? " !" : ""),
             "start", beaten ? "doubt" : "");
  }
  svg.text((left + right) / 2, bottom + 33,
           cat("time, ", scale.unit, "; backward is paler; the black line is the whole"), "middle", "small");
  return svg.text_of("Time of each stage");
}

}  // namespace moebench
