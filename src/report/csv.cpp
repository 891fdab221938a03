// SPDX-License-Identifier: Apache-2.0
#include "report/csv.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "report/record_json.h"

namespace moebench {
namespace {

void add_stages(std::vector<std::string>& columns, std::string_view pass, std::span<const Stage> stages) {
  for (const Stage stage : stages) columns.push_back(cat("stages.", pass, ".", name_of(stage), ".p50_us"));
}

/// All single values of a point: what a reader looks for first, then the order of the report, then the stages' medians.
std::vector<std::string> column_names() {
  std::vector<std::string> columns{"id", "status", "reason"};
  for (std::string& path : paths_of_record())
    if (std::find(columns.begin(), columns.end(), path) == columns.end()) columns.push_back(std::move(path));
  add_stages(columns, "forward", kForwardStages);
  add_stages(columns, "backward", kBackwardStages);
  add_stages(columns, "sync", std::array{Stage::sync});
  return columns;
}

/// Stages by pass and name instead of in a list, so that a path leads to each.
Json stages_by_name(const Json& stages) {
  Json named = Json::object();
  if (stages.is_array())
    for (const Json& stage : stages)
      named[stage["pass"].get<std::string>()][stage["stage"].get<std::string>()] = stage["time"];
  return named;
}

std::string cell_at(const Json& point, const std::string& path) {
  const Json* at = &point;
  for (const auto& key : split(path, '.')) {
    if (!at->is_object() || !at->contains(key)) return {};
    at = &(*at)[key];
  }
  if (at->is_null()) return {};
  if (at->is_string()) return at->get<std::string>();
  if (!at->is_array()) return at->dump();
  return join(at->get<std::vector<std::string>>(), "; ");
}

/// Only where RFC 4180 asks for quotes.
std::string in_quotes(const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string text = "\"";
  for (const char character : cell)
    text += character == '"' ? std::string("\"\"") : std::string(1, character);
  return text + "\"";
}

/// Commit, host, device, date and suite.
std::vector<std::string> origin_of(const Record& record, const Document& report) {
  const std::string device = report.machine.ranks.empty() ? std::string() : report.machine.ranks[0].device;
  const std::string suite = report.suite ? report.suite->name : std::string();
  for (const EarlierRun& run : report.earlier_runs)
    if (run.id == record.run) return {run.commit, run.host, device, run.start, suite};
  return {report.tool.commit, report.environment.host, device, report.run.start, suite};
}

}  // namespace

std::string csv_row(const std::vector<std::string>& cells) {
  std::string text;
  for (std::size_t i = 0; i < cells.size(); ++i) text += (i > 0 ? "," : "") + in_quotes(cells[i]);
  return text + "\r\n";
}

std::string csv(std::span<const Record> records, const Document& report) {
  const auto columns = column_names();
  std::vector<std::string> header = columns;
  for (const char* name : {"commit", "host", "device", "date", "suite"}) header.emplace_back(name);
  std::string text = csv_row(header);
  for (const auto& record : records) {
    Json point = to_json(record);
    point["stages"] = stages_by_name(point["stages"]);
    std::vector<std::string> cells;
    for (const auto& path : columns) cells.push_back(cell_at(point, path));
    for (auto& cell : origin_of(record, report)) cells.push_back(std::move(cell));
    text += csv_row(cells);
  }
  return text;
}

}  // namespace moebench
