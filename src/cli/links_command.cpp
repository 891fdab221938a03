// SPDX-License-Identifier: Apache-2.0
// `links` and `calibrate`: what the links between ranks give, and a fabric made of it.
#include <algorithm>
#include <iostream>

#include "base/text.h"
#include "bench/links.h"
#include "cli/commands.h"
#include "cli/identity.h"
#include "cli/report_head.h"
#include "cli/run_context.h"
#include "cli/start_ranks.h"
#include "project/calibration.h"
#include "report/durable_file.h"
#include "report/grid.h"
#include "report/links_json.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

std::string size_of_message(double bytes) {
  const double kib = bytes / 1024;
  return kib < 1024 ? format("%g KiB", kib) : format("%g MiB", kib / 1024);
}

constexpr LinkWay kAllWays[] = {LinkWay::messages, LinkWay::copy, LinkWay::store};

const LinkPoint* find(const Links& links, LinkWay way, LinkPattern pattern, double bytes) {
  for (const LinkPoint& point : links.points)
    if (point.way == way && point.pattern == pattern && point.bytes == bytes) return &point;
  return nullptr;
}

std::vector<double> sizes_of(const Links& links, LinkPattern pattern) {
  std::vector<double> sizes;
  for (const LinkPoint& point : links.points)
    if (point.pattern == pattern && std::find(sizes.begin(), sizes.end(), point.bytes) == sizes.end())
      sizes.push_back(point.bytes);
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

/// A row per size, two columns per way.
std::string table_of(const Links& links, LinkPattern pattern) {
  std::vector<std::string> header{"to each peer"};
  std::vector<LinkWay> ways;
  for (const LinkWay way : kAllWays)
    if (std::any_of(links.points.begin(), links.points.end(),
                    [&](const LinkPoint& p) { return p.way == way && p.pattern == pattern; })) {
      ways.push_back(way);
      header.push_back(cat(name_of(way), " µs"));
      header.push_back("GB/s");
    }
  Grid grid(header);
  for (const double bytes : sizes_of(links, pattern)) {
    std::vector<std::string> cells{size_of_message(bytes)};
    for (const LinkWay way : ways) {
      const LinkPoint* const point = find(links, way, pattern, bytes);
      cells.push_back(point ? format("%.1f", point->p50_us) : "–");
      cells.push_back(point ? format("%.3g", point->gbs()) : "–");
    }
    grid.add_row(cells);
  }
  return grid.text();
}

std::string pairs_of(const Links& links) {
  Grid grid({"pair", "way", "to the other", "µs", "GB/s"});
  for (const LinkPoint& p : links.points)
    if (p.pattern == LinkPattern::pair)
      grid.add_row({cat(p.a, " – ", p.b), std::string(name_of(p.way)), size_of_message(p.bytes),
                    format("%.1f", p.p50_us), format("%.3g", p.gbs())});
  return grid.text();
}

std::string text_of(const Links& links, const Machine& machine, std::string_view comm) {
  std::string text = cat(machine.ranks.size(), " ranks over ", comm, ", ", machine.ranks.front().device,
                         ". GB/s that leave one rank; the median of the slowest rank.\n");
  constexpr std::pair<LinkPattern, std::string_view> kTitles[] = {
      {LinkPattern::all, "Every rank to all others at once:"},
      {LinkPattern::host, "Every rank to the others of its host:"},
      {LinkPattern::hosts, "Every rank to those of other hosts:"}};
  for (const auto& [pattern, title] : kTitles)
    if (!sizes_of(links, pattern).empty()) text += cat("\n", title, "\n\n", table_of(links, pattern));
  if (!sizes_of(links, LinkPattern::pair).empty())
    text += cat("\nTwo ranks to each other, the others idle:\n\n", pairs_of(links));
  for (const std::string& why : links.why_not) text += cat("\nnot measured: ", why, "\n");
  return text;
}

std::vector<MeasuredExchange> exchanges_of(const Links& links, LinkWay way, LinkPattern pattern) {
  std::vector<MeasuredExchange> exchanges;
  for (const LinkPoint& point : links.points)
    if (point.way == way && point.pattern == pattern)
      exchanges.push_back({point.bytes * point.peers, point.p50_us});
  return exchanges;
}

/// The way with the most bytes per second at any size of the pattern.
LinkWay fastest_way(const Links& links, LinkPattern pattern) {
  const LinkPoint* best = nullptr;
  for (const LinkPoint& point : links.points)
    if (point.pattern == pattern && (!best || point.gbs() > best->gbs())) best = &point;
  return best ? best->way : LinkWay::messages;
}

Fabric fabric_of(const Links& links, const Document& head, std::string_view comm,
                 const LinksOptions& options) {
  const auto& ranks = head.machine.ranks;
  const auto on_first_host = std::count_if(
      ranks.begin(), ranks.end(), [&](const RankInfo& rank) { return rank.host == ranks.front().host; });
  const bool one_host = on_first_host == std::ssize(ranks);
  const LinkPattern within = one_host ? LinkPattern::all : LinkPattern::host;
  const LinkWay way = options.way.value_or(fastest_way(links, within));
  return calibrated(
      {.name = options.name,
       .about = cat(ranks.size(), " ranks, ", ranks.front().device),
       .gpu = head.machine.gpus.empty() ? std::string() : head.machine.gpus.front().name,
       .ranks_per_host = static_cast<int>(on_first_host),
       .ranks = static_cast<int>(ranks.size()),
       .within_host = exchanges_of(links, way, within),
       .between_hosts =
           one_host ? std::vector<MeasuredExchange>()
                    : exchanges_of(links, options.way.value_or(LinkWay::messages), LinkPattern::hosts),
       .how = cat("way ", name_of(way), ", comm ", comm, ", moebench calibrate, ", head.run.start)});
}

std::string text_of(const Fabric& fabric) {
  std::string text = cat("\nfabric ", fabric.name, ":\n");
  const auto line = [&](std::string_view tier, const Tier& numbers) {
    text += format("  %-14s %.3g GB/s, %.3g µs\n", std::string(tier).c_str(), numbers.achieved_gbs.value,
                   numbers.latency_us.value);
  };
  line("within a host", fabric.intra);
  if (fabric.inter) line("between hosts", *fabric.inter);
  return text + format("  the lines miss a measured exchange by up to %.1f %%\n", fabric.error_pct.value);
}

/// Asks before anything is measured.
void refuse_files(const Options& options) {
  if (options.json != "-") refuse_to_replace(options);
  if (options.output.empty()) return;
  Options fabric = options;
  fabric.json = options.output, fabric.csv.clear();
  refuse_to_replace(fabric);
}

void write(const Options& options, const std::string& links, const std::string& fabric) {
  if (options.json == "-")
    std::cout << links;
  else if (!options.json.empty())
    replace_file(options.json, links);
  if (!options.output.empty()) replace_file(options.output, fabric);
}

}  // namespace

ExitCode links_command(const Options& options, const std::vector<std::string>& argv) {
  refuse_files(options);
  const SweepAxes axes = read_sweep(options.sweep);
  if (const int ranks = ranks_to_start(axes); ranks > 1) return start(ranks, axes, argv);
  RunContext context(axes.only("backend"), {.comm = axes.only("comm"),
                                            .rendezvous = options.rendezvous,
                                            .timeout_s = options.timeout_s,
                                            .identity = identity_of(argv, moebench_variables())});
  World& world = context.world();
  if (world.size() < 2)
    throw UsageError("links are between ranks: give --ranks 2 or more, or start under mpirun");
  const Document head = head_of(argv, context.describe());
  std::vector<std::string> host_of;
  for (const RankInfo& rank : head.machine.ranks) host_of.push_back(rank.host);
  LinkRequest request{.bytes = options.links.bytes};
  if (request.bytes.empty())
    for (std::int64_t bytes = 4096; bytes <= std::int64_t{64} << 20; bytes *= 4)
      request.bytes.push_back(bytes);
  const Links links = measure_links(context.bench(), request, host_of);
  if (world.rank() != 0) return ExitCode::ok;
  std::string text = text_of(links, head.machine, world.name()), fabric_json;
  if (options.command == Command::calibrate) {
    const Fabric fabric = fabric_of(links, head, world.name(), options.links);
    text += text_of(fabric);
    fabric_json = json_of(fabric);
    if (options.output.empty()) text += "\n-o FILE writes it for 'moebench project --fabric FILE'.\n";
  }
  for (const std::string& note : context.notes()) std::cerr << "warning: " << note << '\n';
  for (const std::string& warning : head.warnings) std::cerr << "warning: " << warning << '\n';
  (options.json == "-" ? std::cerr : std::cout) << text;
  write(options, json_of(links, head), fabric_json);
  return ExitCode::ok;
}

}  // namespace moebench
