// SPDX-License-Identifier: Apache-2.0
#include "report/page.h"

#include <algorithm>
#include <numeric>

#include "base/text.h"
#include "report/doubts.h"
#include "report/figures.h"
#include "report/quantity.h"
#include "report/sharing.h"
#include "report/svg.h"
#include "report/table.h"

namespace moebench {
namespace {

constexpr std::size_t kMaxSentences = 8;  // more would push the table off the first screen

constexpr const char* kStyle = R"(
:root { --ink: #1d1d1f; --paper: #ffffff; --pale: #6b6b6b; --rule: #dddddd; --doubt: #b00020; --box: #fdeef0; --fine: #e8f5ee; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181c; --pale: #9a9a9a; --rule: #3a3d42; --doubt: #ff8a93; --box: #3a1f24; --fine: #1c3327; }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 24px auto; max-width: 960px; padding: 0 16px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 28px 0 8px; }
p { margin: 4px 0; } .pale { color: var(--pale); font-size: 13px; }
.box { border-left: 4px solid var(--doubt); background: var(--box); padding: 8px 12px; margin: 12px 0; }
.fine { border-color: #009e73; background: var(--fine); }
.box ul { margin: 0; padding-left: 18px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { padding: 3px 10px 3px 0; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
td.number, th.number { text-align: right; } td.doubt, .doubt { color: var(--doubt); fill: var(--doubt); font-weight: 600; }
.wide { overflow-x: auto; } code { font-size: 13px; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; } svg text { fill: var(--ink); }
svg .small { font-size: 11px; fill: var(--pale); } svg .doubt { fill: var(--doubt); }
.grid { stroke: var(--rule); } .ink { stroke: var(--ink); stroke-width: 2; } .floor { stroke: #7a7a7a; stroke-width: 3; }
)";

std::string element(std::string_view tag, std::string_view text, std::string_view style = "") {
  return cat("<", tag, style.empty() ? "" : cat(" class=\"", style, "\""), ">", escaped_xml(text), "</", tag,
             ">\n");
}

std::string list_of(const std::vector<std::string>& sentences) {
  std::string text = "<ul>\n";
  for (std::size_t i = 0; i < std::min(sentences.size(), kMaxSentences); ++i)
    text += element("li", sentences[i]);
  if (sentences.size() > kMaxSentences)
    text += element("li", cat("and ", sentences.size() - kMaxSentences, " more, below"));
  return text + "</ul>\n";
}

std::string table_of(const Cells& cells, bool words_only = false) {
  const auto is_number = [](const std::string& cell) {
    return cell.starts_with('?') || to_double(std::string_view(cell).substr(0, cell.find(' '))).has_value();
  };
  std::string text = "<div class=\"wide\"><table>\n<tr>";
  std::vector<bool> numbers;
  for (std::size_t c = 0; c < cells.header.size(); ++c) {
    numbers.push_back(!words_only && std::any_of(cells.rows.begin(), cells.rows.end(), [&](const auto& row) {
      return c < row.size() && is_number(row[c]);
    }));
    text += element("th", cells.header[c], numbers[c] ? "number" : "");
  }
  text += "</tr>\n";
  for (std::size_t i = 0; i < cells.rows.size(); ++i) {
    text += "<tr>";
    for (std::size_t c = 0; c < cells.rows[i].size(); ++c) {
      const std::string& cell = cells.rows[i][c];
      std::vector<std::string> classes;
      if (numbers[c]) classes.emplace_back("number");
      if (cell.ends_with(" !") || cell == "unchecked") classes.emplace_back("doubt");
      text += element("td", cell, join(classes, " "));
    }
    text += "</tr>\n";
    if (cells.notes[i].empty()) continue;
    text += cat("<tr><td class=\"pale\" colspan=\"", cells.header.size(), "\">└ ",
                escaped_xml(cells.notes[i]), "</td></tr>\n");
  }
  return text + "</table></div>\n";
}

/// The doubts about stages in one sentence for each kind, with the point of the worst.
std::vector<std::string> stage_doubts_of(const std::vector<Record>& points) {
  if (points.size() == 1) return stage_doubts_of(points[0]);
  std::vector<std::string> sentences;
  double max = 0;
  std::string where;
  std::size_t beaten = 0, apart = 0;
  for (const Record& record : points) {
    double here = 0;
    for (const StageRecord& stage : record.stages)
      if (has_times(record) && !stage.fused_into) here = std::max(here, stage.limit_pct);
    if (here > max) where = record.bench_case.title();
    max = std::max(max, here);
    beaten += here > kDoubtfulLimitPct;
    apart += stage_doubts_of(record).size() > (here > kDoubtfulLimitPct ? 1 : 0);
  }
  if (beaten > 0)
    sentences.push_back(cat(beaten, " of ", points.size(), " points have a stage above ", kDoubtfulLimitPct,
                            " % of its limit, up to ", format("%.0f", max), " % (", where,
                            "): what nothing can beat was beaten, so a peak was measured too low"));
  if (apart > 0)
    sentences.push_back(cat("in ", apart, " of ", points.size(),
                            " points the stages' sum and the whole differ by more than their ±"));
  return sentences;
}

std::string points_text(std::ptrdiff_t count, const char* singular, const char* plural) {
  return cat(count, count == 1 ? singular : plural);
}

/// What the figures of this report cannot be trusted with, the worst first.
std::vector<std::string> doubts_of_page(const Document& report) {
  std::vector<std::string> sentences;
  const auto& points = report.points;
  const auto timed = std::count_if(points.begin(), points.end(), has_times);
  if (report.run.interrupted) sentences.emplace_back("the run was interrupted");
  if (timed < std::ssize(points))
    sentences.push_back(
        cat(std::ssize(points) - timed, " of ", points.size(), " points have no time: the table says why"));
  const auto unchecked = std::count_if(points.begin(), points.end(), [](const Record& record) {
    return has_times(record) && is_unchecked(record);
  });
  if (unchecked > 0)
    sentences.push_back(cat("unchecked: ", points_text(unchecked, " point was", " points were"),
                            " measured without checking the result"));
  for (std::string& sentence : doubts_of(points)) sentences.push_back(std::move(sentence));
  for (std::string& sentence : stage_doubts_of(points)) sentences.push_back(std::move(sentence));
  for (const std::string& sentence : report.warnings) sentences.push_back(sentence);
  return sentences;
}

std::string device_of(const Document& report) {
  if (!report.machine.ranks.empty()) return report.machine.ranks[0].device;
  return report.environment.cpu.model;
}

std::string head_of(const Document& report) {
  const std::string name = report.suite ? report.suite->name : "moebench";
  std::string text = element("h1", cat(name, " on ", device_of(report)));
  std::string commit = report.tool.commit.empty() ? "no commit" : report.tool.commit.substr(0, 10);
  text +=
      element("p",
              cat(report.run.start, " · ", report.environment.host, " · moebench ", report.tool.version, " (",
                  commit, report.tool.dirty ? ", modified" : "", ")",
                  report.machine.ranks.size() > 1 ? cat(" · ", report.machine.ranks.size(), " ranks") : ""),
              "pale");
  for (const std::string& sentence : sharing_of(report.machine)) text += element("p", sentence, "pale");
  if (report.suite && !report.suite->question.empty())
    text += element("p", cat("Question: ", report.suite->question));
  if (report.suite && !report.suite->expectation.empty())
    text += element("p", cat("Expected: ", report.suite->expectation), "pale");
  return text;
}

std::string doubts_box(const std::vector<std::string>& sentences) {
  if (sentences.empty())
    return "<div class=\"box fine\">Every point was checked, met its target and stays within its "
           "limit.</div>\n";
  return cat("<div class=\"box\"><strong class=\"doubt\">Before you read on</strong>\n", list_of(sentences),
             "</div>\n");
}

std::string figures_of(const Document& report) {
  std::string text;
  const auto add = [&](const char* title, const std::string& figure) {
    if (!figure.empty()) text += element("h2", title) + "<div class=\"wide\">" + figure + "</div>\n";
  };
  add("Rate", curve_figure(report.points));
  add("Time", time_figure(report.points));
  add("Where the time goes", stage_figure(report.points));
  return text;
}

std::string stages_of(const Document& report) {
  std::string text;
  for (const Record& record : report.points) {
    const Cells cells = stage_cells_of(record);
    if (cells.rows.empty()) continue;
    text +=
        cat("<details><summary>", escaped_xml(record.bench_case.title()), "</summary>\n", table_of(cells));
    for (const std::string& sentence : stage_doubts_of(record)) text += element("p", sentence, "doubt");
    text += "</details>\n";
  }
  return text.empty() ? text : element("h2", "Stages") + text;
}

std::string peaks_of(const Document& report) {
  if (report.peaks.empty()) return {};
  Cells cells{
      .header = {"backend", "dtype", "ranks", "products TFLOP/s", "copy GB/s", "launch µs", "link GB/s"}};
  const auto known = [](double value) { return value > 0 ? format("%.4g", value) : std::string("–"); };
  for (const Peaks& peaks : report.peaks) {
    cells.rows.push_back(
        {peaks.backend, std::string(name_of(peaks.dtype)),
         cat(peaks.ranks, peaks.threads > 0 ? cat(" of ", peaks.threads, " threads") : std::string()),
         known(peaks.gemm_tflops), known(peaks.copy_gbs), known(peaks.launch_us), known(peaks.link_gbs)});
    cells.notes.emplace_back();
  }
  return element("p", "Peaks measured in this run, per rank:") + table_of(cells);
}

std::string machine_of(const Document& report) {
  const Environment& environment = report.environment;
  Cells cells{.header = {"what", "is"}};
  const auto add = [&](const std::string& what, const std::string& is) {
    if (is.empty()) return;
    cells.rows.push_back({what, is});
    cells.notes.emplace_back();
  };
  add("host", environment.host);
  add("CPU", cat(environment.cpu.model, ", ", environment.cpu.usable_threads, " threads usable"));
  for (const GpuInfo& gpu : report.machine.gpus) add("GPU", gpu.name);
  add("system", cat(environment.os, ", ", environment.kernel));
  add("container", environment.container);
  add("load average", format("%.2f", environment.load_average));
  if (report.machine.mpi) add("MPI", cat(report.machine.mpi->library, " by ", report.machine.mpi->launcher));
  for (const auto& [name, version] : report.machine.libraries) add(name, version);
  for (const RankInfo& rank : report.machine.ranks)
    if (report.machine.ranks.size() > 1)
      add(cat("rank ", rank.rank), cat(rank.host, ", ", rank.device, " ", rank.uuid));
  for (const auto& [name, value] : environment.variables) add(name, value);
  add("build", cat(report.tool.build_type, ", ", report.tool.compiler, ", ", report.tool.flags));
  return element("h2", "Machine") + table_of(cells, true) + peaks_of(report) +
         cat("<p>Again: <code>", escaped_xml(report.run.repro), "</code></p>\n");
}

std::string warnings_of(const Document& report, const std::vector<std::string>& doubts) {
  std::vector<std::string> sentences;
  if (doubts.size() > kMaxSentences)
    sentences.assign(doubts.begin() + static_cast<std::ptrdiff_t>(kMaxSentences), doubts.end());
  for (const Record& record : report.points)
    for (const std::string& sentence : record.warnings)
      if (std::find(sentences.begin(), sentences.end(), sentence) == sentences.end())
        sentences.push_back(sentence);
  std::string text;
  for (const std::string& sentence : sentences) text += element("li", sentence);
  return text.empty() ? text : element("h2", "Also to be said") + "<ul>\n" + text + "</ul>\n";
}

/// By the values on the axes, numbers by their size: cases that took turns were not measured in this order.
void sort_by_axes(std::vector<Record>& points) {
  const auto names = varying(points);
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto before = [&](std::size_t a, std::size_t b) {
    for (std::size_t i = 0; i < names[a].size(); ++i) {
      const std::string &left = names[a][i].second, &right = names[b][i].second;
      if (left == right) continue;
      const auto one = to_double(left), other = to_double(right);
      return one && other ? *one < *other : left < right;
    }
    return false;
  };
  std::stable_sort(order.begin(), order.end(), before);
  std::vector<Record> sorted;
  for (const std::size_t i : order) sorted.push_back(std::move(points[i]));
  points = std::move(sorted);
}

}  // namespace

std::string page_of(const Document& given) {
  Document report = given;
  sort_by_axes(report.points);
  const auto doubts = doubts_of_page(report);
  const std::string title = cat(report.suite ? report.suite->name : "moebench", ", ", report.run.start);
  return cat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n",
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n", element("title", title),
      "<style>", kStyle, "</style></head><body>\n", head_of(report), doubts_box(doubts),
      report.points.empty() ? element("p", "This report holds no point.") : table_of(cells_of(report.points)),
      element("p",
              cat(caption(report.points, 0),
                  " Time: median; ±: half of its 95 % interval; limit: least time at "
                  "this machine's measured peaks."),
              "pale"),
      figures_of(report), stages_of(report), warnings_of(report, doubts), machine_of(report),
      "</body></html>\n");
}

}  // namespace moebench
