// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <iostream>

#include "base/text.h"
#include "bench/ranges.h"
#include "cli/commands.h"
#include "cli/identity.h"
#include "cli/run_context.h"
#include "report/grid.h"
#include "report/terminal.h"

namespace moebench {
namespace {

/// In the width of the terminal.
void print(const std::string& text) {
  std::cout << folded(text, static_cast<std::size_t>(terminal_columns(STDOUT_FILENO)));
}

void line(const std::string& name, const std::string& value) {
  print(cat(format("  %-12s  ", name.c_str()), value, "\n"));
}

void print_build(const ToolFacts& tool) {
  std::cout << "build:\n";
  line("version", version_text());
  line("compiler", tool.compiler);
  line("flags", tool.flags);
  for (const std::string feature : {"mpi", "cuda", "nccl"}) {
    const bool has = std::find(tool.features.begin(), tool.features.end(), feature) != tool.features.end();
    line(feature, has ? "yes" : "no: left out when this was built");
  }
  line("nvtx", Ranges::built() ? "yes" : "no: left out when this was built");
}

/// A host name, or a device's, is anybody's text: control characters would reach the terminal.
std::string printable(std::string text) {
  for (char& c : text)
    if (std::iscntrl(static_cast<unsigned char>(c))) c = '?';
  return text;
}

void print_machine(const Environment& environment) {
  const CpuInfo& cpu = environment.cpu;
  std::cout << "machine:\n";
  line("host", cat(printable(environment.host), ", ", environment.os, ", ", environment.kernel,
                   environment.container.empty() ? "" : cat(", in ", environment.container)));
  line("cpu", cat(cpu.model, ", ", cpu.sockets, " socket(s), ", cpu.cores, " cores, ", cpu.usable_threads,
                  " threads usable, ", cpu.numa_nodes, " NUMA node(s)"));
  line("memory", format("%.1f GB", cpu.memory_bytes * 1e-9));
  if (const std::string why = why_no_gpu(); !why.empty()) line("gpu", cat("none used: ", why));
  for (const std::string& comm : comm_names())
    if (const std::string why = why_not_comm(comm, 1); !why.empty()) line(comm, cat("not used: ", why));
}

void print_topology(const std::vector<HostTopology>& hosts) {
  for (const HostTopology& host : hosts) {
    std::cout << "topology of " << printable(host.host) << ":\n";
    for (const std::string& text : lines_of(host)) print(cat("  ", printable(text), "\n"));
  }
}

void print_ranks(const Machine& machine, RunContext& context) {
  std::cout << "ranks:\n";
  line("comm", cat(context.world().name(), machine.mpi ? cat(", ", machine.mpi->library) : std::string()));
  for (const RankInfo& rank : machine.ranks)
    line(cat("rank ", rank.rank),
         cat(printable(rank.host), " pid ", rank.pid, ": ", rank.device, rank.bus_id.empty() ? "" : ", ",
             rank.bus_id, rank.uuid.empty() ? "" : ", ", rank.uuid));
  std::cout << "backend " << context.backend().name() << ":\n";
  line("engines", join(context.backend().engines(), ", "));
  std::vector<std::string> dtypes;
  for (const FormatInfo& format : kFormats)
    if (context.backend().supports(format.dtype)) dtypes.emplace_back(format.name);
  line("dtypes", join(dtypes, ", "));
  for (const auto& [library, version] : machine.libraries) line(library, version);
}

}  // namespace

std::string version_text() {
  const ToolFacts tool = tool_facts();
  return cat("moebench ", tool.version, " (", tool.commit.empty() ? "no commit" : tool.commit.substr(0, 12),
             tool.dirty ? ", modified" : "", ", ", tool.build_type, tool.features.empty() ? "" : ", ",
             join(tool.features, ", "), ")");
}

ExitCode info_command(const Options& options) {
  RunContext context("auto", {.rendezvous = options.rendezvous,
                              .timeout_s = options.timeout_s,
                              .identity = identity_of({"moebench", "info"}, {})});
  const Machine machine = context.describe();
  if (context.world().rank() != 0) return ExitCode::ok;
  const Environment environment = read_environment();
  print_build(tool_facts());
  print_machine(environment);
  print_topology(machine.topology);
  print_ranks(machine, context);
  for (const std::string& note : context.notes()) print(cat("warning: ", note, "\n"));
  for (const std::string& sentence : environment_warnings(environment, tool_facts()))
    print(cat("warning: ", sentence, "\n"));
  return ExitCode::ok;
}

}  // namespace moebench
