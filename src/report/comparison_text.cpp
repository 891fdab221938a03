// SPDX-License-Identifier: Apache-2.0
// A comparison as a table, as Markdown and as JSON.
#include <cmath>

#include "base/text.h"
#include "report/comparison.h"
#include "report/csv.h"
#include "report/grid.h"
#include "report/quantity.h"

namespace moebench {
namespace {

constexpr Verdict kVerdicts[] = {Verdict::same,      Verdict::faster,  Verdict::slower, Verdict::mixed,
                                 Verdict::ambiguous, Verdict::refused, Verdict::missing};

struct Rows {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> cells;
  std::vector<std::vector<std::string>> notes;
};

/// "slower: forward 1.200, forward experts 1.250"
std::vector<std::string> moved_parts(const PointComparison& point) {
  std::vector<std::string> lines;
  for (const Verdict verdict : {Verdict::slower, Verdict::faster}) {
    std::vector<std::string> parts;
    for (const auto* list : {&point.passes, &point.stages, &point.steps})
      for (const PartComparison& part : *list)
        if (part.judged.verdict == verdict)
          parts.push_back(format("%s %.3f", part.name.c_str(), part.judged.ratio));
    if (!parts.empty()) lines.push_back(cat(name_of(verdict), ": ", join(parts, ", ")));
  }
  return lines;
}

Rows rows_of(const Comparison& comparison) {
  std::vector<double> times;
  for (const auto& point : comparison.points) times.insert(times.end(), {point.a_us, point.b_us});
  const Scale scale = time_scale(times);
  Rows rows;
  for (const auto& [name, value] : comparison.points.front().settings) rows.header.push_back(name);
  for (const auto& name : {cat("A ", scale.unit), cat("B ", scale.unit), std::string("B/A"),
                           std::string("low"), std::string("high"), std::string("verdict")})
    rows.header.push_back(name);
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
    rows.cells.push_back(std::move(cells));
    rows.notes.push_back(moved_parts(point));
    if (!point.reason.empty()) rows.notes.back().insert(rows.notes.back().begin(), point.reason);
  }
  return rows;
}

std::string sum_of(const Comparison& comparison) {
  std::vector<std::string> counts;
  for (const Verdict verdict : kVerdicts)
    if (const int count = comparison.count(verdict)) counts.push_back(cat(count, " ", name_of(verdict)));
  std::string text = join(counts, ", ") + format(" (threshold %.3g %%)", comparison.threshold_pct);
  if (comparison.mean_ratio > 0) text += format("; geometric mean of B/A %.3f", comparison.mean_ratio);
  return text + "\n";
}

/// How to find out what these reports cannot tell; empty where they can.
std::string advice_of(const Comparison& comparison) {
  if (comparison.count(Verdict::ambiguous) == 0 || comparison.in_turns.empty()) return {};
  return cat("ambiguous: repeat in turns: ", comparison.in_turns, "\n");
}

std::string escaped(std::string cell) {
  for (std::size_t at = 0; (at = cell.find('|', at)) != std::string::npos; at += 2) cell.insert(at, "\\");
  return cell;
}

/// What is not finite is null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json to_json(const Judgement& judged) {
  const bool known = judged.ratio > 0;
  Json json = Json::object();
  json["verdict"] = std::string(name_of(judged.verdict));
  json["reason"] = judged.reason.empty() ? Json(nullptr) : Json(judged.reason);
  json["a_us"] = known ? number(judged.a_us) : Json(nullptr);
  json["b_us"] = known ? number(judged.b_us) : Json(nullptr);
  json["ratio"] = known ? number(judged.ratio) : Json(nullptr);
  json["ratio_low"] = known ? number(judged.ratio_low) : Json(nullptr);
  json["ratio_high"] = known ? number(judged.ratio_high) : Json(nullptr);
  json["same_low"] = known ? number(judged.same_low) : Json(nullptr);
  json["same_high"] = known ? number(judged.same_high) : Json(nullptr);
  json["p"] = number(judged.p);
  json["processes_a"] = judged.processes_a;
  json["processes_b"] = judged.processes_b;
  return json;
}

Json to_json(const std::vector<PartComparison>& parts) {
  Json json = Json::object();
  for (const PartComparison& part : parts) json[part.name] = to_json(part.judged);
  return json;
}

}  // namespace

std::string text_of(const Comparison& comparison) {
  std::string text;
  for (const auto& title : comparison.titles) text += title + "\n";
  for (const auto* list : {&comparison.warnings, &comparison.repeated})
    for (const auto& sentence : *list) text += cat("! ", sentence, "\n");
  if (comparison.points.empty()) return text + "nothing to compare\n";
  const Rows rows = rows_of(comparison);
  Grid grid(rows.header);
  for (std::size_t i = 0; i < rows.cells.size(); ++i) {
    grid.add_row(rows.cells[i]);
    for (const auto& note : rows.notes[i]) grid.add_note(note);
  }
  return cat(text, "\n", grid.text(), "\n", sum_of(comparison), advice_of(comparison));
}

std::string markdown_of(const Comparison& comparison) {
  std::string text;
  for (const auto& title : comparison.titles) text += cat("- ", title, "\n");
  for (const auto* list : {&comparison.warnings, &comparison.repeated})
    for (const auto& sentence : *list) text += cat("- ⚠ ", sentence, "\n");
  if (comparison.points.empty()) return text + "\nnothing to compare\n";
  const Rows rows = rows_of(comparison);
  const auto line = [](const std::vector<std::string>& cells) {
    std::string row = "|";
    for (const auto& cell : cells) row += cat(" ", escaped(cell), " |");
    return row + "\n";
  };
  auto header = rows.header;
  header.push_back("why");
  text += "\n" + line(header) + line(std::vector<std::string>(header.size(), "---"));
  for (std::size_t i = 0; i < rows.cells.size(); ++i) {
    auto cells = rows.cells[i];
    cells.push_back(join(rows.notes[i], "; "));
    text += line(cells);
  }
  return cat(text, "\n", sum_of(comparison), advice_of(comparison).empty() ? "" : "\n",
             advice_of(comparison));
}

std::string csv_of(const Comparison& comparison) {
  std::vector<std::string> header;
  if (!comparison.points.empty())
    for (const auto& [name, value] : comparison.points.front().settings) header.push_back(name);
  for (const char* name : {"verdict", "reason", "a_us", "b_us", "ratio", "ratio_low", "ratio_high", "p",
                           "processes_a", "processes_b"})
    header.emplace_back(name);
  std::string text = csv_row(header);
  for (const PointComparison& point : comparison.points) {
    std::vector<std::string> cells;
    for (const auto& [name, value] : point.settings) cells.push_back(value);
    const Json judged = to_json(static_cast<const Judgement&>(point));
    for (std::size_t i = cells.size(); i < header.size(); ++i) {
      const Json& value = judged[header[i]];
      cells.push_back(value.is_null()     ? std::string()
                      : value.is_string() ? value.get<std::string>()
                                          : value.dump());
    }
    text += csv_row(cells);
  }
  return text;
}

Json to_json(const Comparison& comparison) {
  Json json = Json::object();
  json["schema"] = "moebench.comparison/1";
  json["threshold_pct"] = comparison.threshold_pct;
  json["exit_code"] = static_cast<int>(comparison.exit_code());
  json["mean_ratio"] = comparison.mean_ratio > 0 ? Json(comparison.mean_ratio) : Json(nullptr);
  json["titles"] = comparison.titles;
  json["in_turns"] = comparison.in_turns.empty() ? Json(nullptr) : Json(comparison.in_turns);
  json["points"] = Json::array();
  for (const PointComparison& point : comparison.points) {
    Json entry = Json::object();
    entry["settings"] = Json::object();
    for (const auto& [name, value] : point.settings) entry["settings"][name] = value;
    entry.update(to_json(static_cast<const Judgement&>(point)));
    entry["passes"] = to_json(point.passes);
    entry["stages"] = to_json(point.stages);
    entry["steps"] = to_json(point.steps);
    json["points"].push_back(std::move(entry));
  }
  auto warnings = comparison.warnings;
  warnings.insert(warnings.end(), comparison.repeated.begin(), comparison.repeated.end());
  json["warnings"] = warnings;
  return json;
}

}  // namespace moebench
