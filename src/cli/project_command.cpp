// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <iostream>
#include <set>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/compute_report.h"
#include "project/published.h"
#include "report/durable_file.h"
#include "report/grid.h"
#include "report/terminal.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

constexpr double kMega = 1e6;

ExitCode selftest() {
  Grid grid({"published table", "latency µs", "GB/s", "worst residual", "held out", "error", "expected"});
  std::vector<std::string> failures, sources;
  for (const RefitRow& row : refit(published_tables())) {
    std::vector<std::string> line{std::string(row.name), format("%.1f", row.line.latency_s * 1e6),
                                  format("%.1f", row.line.bytes_per_s / 1e9),
                                  format("%.1f %%", row.residual_pct)};
    for (const auto& held : row.held_out) {
      line.push_back(cat(held.gpus, " GPUs"));
      line.push_back(format("%+.1f %%", held.error_pct));
      line.push_back(format("%+.1f %%", held.expected_pct));
      grid.add_row(line);
      line.assign(4, "");
    }
    for (const std::string& what : row.failures) failures.push_back(cat(row.name, ": ", what));
    if (sources.empty() || sources.back() != row.source) sources.emplace_back(row.source);
  }
  std::cout << "Lines through published exchanges, and what the smaller points say of the larger ones\n\n"
            << grid.text() << "\nFrom " << join(sources, ";\nfrom ") << ".\n";
  for (const std::string& failure : failures) std::cerr << "moebench: " << failure << '\n';
  std::cout << (failures.empty() ? "All as expected.\n" : "");
  return failures.empty() ? ExitCode::ok : ExitCode::incorrect;
}

/// The layer of one GPU. Throws UsageError unless the flags say one.
Case layer_of(const Options& options) {
  SweepRequest request = options.sweep;
  request.fallback["dtype"] = "bf16";
  const Sweep sweep = expand_sweep(request, {});
  if (sweep.cases.size() != 1)
    throw UsageError(
        cat("project takes one layer, and the flags say ", sweep.cases.size(), "; only --nodes may vary"));
  return sweep.cases.front();
}

/// Runs the ranks that may set the time of each row, and one in the middle, alone on this machine. What --compute holds
/// already is not run again.
ExitCode measure(const Options& options, const Case& layer, const Projection& plan,
                 const std::vector<std::string>& argv) {
  for (const Projected& row : plan.rows) {
    std::set<int> ranks(row.worst_ranks.begin(), row.worst_ranks.end());
    ranks.insert(row.median_rank);
    std::vector<std::string> words;
    for (const int rank : ranks) words.push_back(cat(rank));
    Options run;
    run.command = Command::run;
    run.sweep = options.sweep;
    for (const auto& [flag, value] :
         Settings{{"ranks", cat(row.gpus)}, {"ep", cat(row.ep)}, {"as-rank", join(words, ",")}})
      run.sweep.command_line[flag] = value;
    if (!layer.routing.is_random()) run.sweep.command_line["steps"] = "1";  // the one that was drawn
    run.sweep.command_line.emplace("dtype", name_of(layer.shape.dtype));
    run.sampling = options.sampling;
    run.sampling.peaks = false;
    run.sampling.check = CheckMode::none;  // there is none for a rank alone
    run.max_time_given = options.max_time_given;
    run.json = options.project.compute;
    run.resume = true;
    settle(run);
    if (const ExitCode code = run_command(run, argv); code != ExitCode::ok) return code;
  }
  return ExitCode::ok;
}

std::string caption(const Projection& all) {
  const Shape& s = all.shape;
  const Fabric& f = all.fabric;
  const auto tier = [](const Tier& t) {
    return format("%g GB/s (%s), %g us (%s)", t.achieved_gbs.value,
                  std::string(name_of(t.achieved_gbs.provenance)).c_str(), t.latency_us.value,
                  std::string(name_of(t.latency_us.provenance)).c_str());
  };
  std::string text =
      cat("tokens=", s.tokens, " per GPU hidden=", s.hidden, " ffn=", s.ffn, " experts=", s.experts,
          " top-k=", s.top_k, " dtype=", name_of(s.dtype), " routing=", name_of(all.routing),
          " pass=", all.backward ? "fwd+bwd" : "fwd", "\n", f.name, ": in a node ", tier(f.intra));
  if (f.inter) text += cat("; between nodes ", tier(*f.inter));
  text += cat(f.concurrent ? "; both at once" : "; one after the other", "; rows once per ",
              all.request.dedup == Dedup::none ? "expert" : name_of(all.request.dedup), "\n", "compute: ",
              all.request.compute.empty() ? "not given (--compute REPORT): exchanges alone" : "measured, ",
              all.request.compute, "\n");
  if (!all.request.what_if.text.empty()) text += cat("WHAT IF ", all.request.what_if.text, "\n");
  return text + "\n";
}

std::string ms(double us) { return format(us < 10000 ? "%.2f" : "%.1f", us / 1e3); }

std::string text_of(const Projection& all, std::size_t columns) {
  const bool at_overlap = all.request.what_if.overlap.has_value();
  std::vector<std::string> header{
      "nodes",     "GPUs",        "EP",         "worst rows / mean",  "nodes per token", "net MB",
      "NVLink MB", "exchange us", "compute ms", "time ms, overlap 1", "overlap 0"};
  if (at_overlap) header.push_back("what if");
  for (const char* name : {"± ms", "efficiency", "sync ms", "bound", "exchange is", "compute is"})
    header.emplace_back(name);
  Grid grid(header);
  for (const Projected& row : all.rows) {
    std::vector<std::string> cells{cat(row.nodes),
                                   cat(row.gpus),
                                   cat(row.ep),
                                   format("%.3f", static_cast<double>(row.worst_rows) / row.mean_rows),
                                   format("%.2f", row.nodes_per_token),
                                   format("%.1f", row.net_bytes / kMega),
                                   format("%.1f", row.node_bytes / kMega),
                                   format("%.0f", row.exchange_us),
                                   row.compute ? ms(row.compute_us) : "–",
                                   ms(row.overlapped_us),
                                   ms(row.serial_us)};
    if (at_overlap) cells.push_back(ms(row.at_overlap_us));
    for (std::string cell :
         {ms(row.error_us), row.efficiency > 0 ? format("%.2f", row.efficiency) : std::string("–"),
          ms(row.sync_us), std::string(name_of(row.limit)), std::string(name_of(row.exchange)),
          std::string(!row.compute                ? "–"
                      : row.compute->as_rank >= 0 ? cat("rank ", row.compute->as_rank, " alone")
                      : row.compute->interpolated ? "interpolated"
                                                  : "measured")})
      cells.push_back(std::move(cell));
    grid.add_row(std::move(cells));
    if (!row.no_compute.empty()) grid.add_note(cat("no compute: ", row.no_compute));
  }
  const std::string shown = caption(all);
  std::string narrow;
  if (columns > 0)
    if (const auto left_out =
            grid.fit(columns, {"NVLink", "net", "sync", "compute is", "worst", "exchange us", "nodes per"});
        !left_out.empty())
      narrow = cat("too narrow for: ", join(left_out, ", "), " (in a pipe and in --json all are there)\n");
  return shown + grid.text(columns) + narrow +
         "\nNot in it: congestion, stragglers, shared network cards, pipeline bubbles "
         "(docs/projection.md).\n";
}

}  // namespace

ExitCode project_command(const Options& options, const std::vector<std::string>& argv) {
  if (options.project.selftest) return selftest();
  if (options.project.fabric.empty())
    throw UsageError(cat("project needs --fabric NAME|FILE; valid: ", join(fabric_names(), ", "),
                         ", a path that ends in .json"));
  const bool to_stdout = options.json == "-";
  if (!to_stdout) refuse_to_replace(options);
  ProjectRequest request = options.project;
  if (request.nodes.empty()) request.nodes = {1};
  const Case layer = layer_of(options);
  const Fabric fabric = find_fabric(request.fabric);
  const auto table = [&] {
    return request.compute.empty() ? ComputeTable() : compute_from(request.compute, layer, fabric);
  };
  if (request.measure && request.compute.empty())
    throw UsageError("--measure needs --compute REPORT: the report that it writes to");
  if (request.measure && to_stdout)
    throw UsageError("--measure shows what it runs on stdout; give a file to --json, not -");
  ComputeTable compute;
  if (!request.measure) compute = table();  // refused before anything is drawn
  Projection all = project_exchanges(layer.shape, layer.routing, layer.seed, request, fabric);
  if (request.measure) {
    if (const ExitCode code = measure(options, layer, all, argv); code != ExitCode::ok) return code;
    compute = table();
  }
  project_times(all, compute);
  const int columns = terminal_columns(to_stdout ? STDERR_FILENO : STDOUT_FILENO);
  (to_stdout ? std::cerr : std::cout) << text_of(all, static_cast<std::size_t>(columns));
  if (to_stdout)
    std::cout << json_of(all);
  else if (!options.json.empty())
    replace_file(options.json, json_of(all));
  return ExitCode::ok;
}

}  // namespace moebench
