// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <array>
#include <iostream>
#include <sstream>

#include "base/text.h"
#include "bench/routing_table.h"
#include "cli/commands.h"
#include "cli/list_topics.h"
#include "cli/run_context.h"
#include "layer/gates/gate.h"
#include "moe/routing_distribution.h"
#include "moe/stage.h"
#include "project/fabric.h"
#include "report/grid.h"
#include "report/terminal.h"
#include "suite/presets.h"
#include "suite/suite_file.h"

namespace moebench {
namespace {

void list_suites(std::ostream& out) {
  for (const Suite& suite : built_in_suites())
    out << format("  %-16s ", suite.name.c_str()) << suite.question << '\n';
}

void list_presets(std::ostream& out) {
  out << format("  %-18s %7s %6s %8s %6s %6s  %-11s %-12s %s\n", "name", "hidden", "ffn", "experts", "top-k",
                "shared", "activation", "its gate", "source");
  for (const Preset& preset : presets()) {
    out << format("  %-18s %7lld %6lld %8lld %6lld %6lld  %-11s %-12s ", std::string(preset.name).c_str(),
                  static_cast<long long>(preset.hidden), static_cast<long long>(preset.ffn),
                  static_cast<long long>(preset.experts), static_cast<long long>(preset.top_k),
                  static_cast<long long>(preset.shared_experts),
                  cat(name_of(preset.activation), preset.bias ? "+bias" : "").c_str(),
                  std::string(preset.gate.gate).c_str())
        << preset.source << (preset.note.empty() ? "" : "; ") << preset.note << '\n';
  }
}

void list_gates(std::ostream& out) {
  for (const GateEntry* gate : gates())
    out << format("  %-14s ", std::string(gate->name).c_str()) << gate->help
        << (gate == &default_gate() ? " (default)" : "") << '\n';
}

void list_routings(std::ostream& out) {
  for (const RoutingKind& kind : routing_kinds()) {
    const std::string word = cat(kind.name, kind.parameter.empty() ? "" : ":", kind.parameter);
    out << format("  %-16s ", word.c_str()) << kind.help;
    if (!kind.parameter.empty() && kind.draw) out << "; " << kind.parameter << " up to " << kind.max;
    out << (&kind == &routing_kinds().front() ? " (default)" : "") << '\n';
  }
}

void list_gate_routings(std::ostream& out) { out << routing_table(capabilities_of("cpu")); }

void list_engines(std::ostream& out) {
  std::vector<std::string> rules;
  for (const std::string& name : backend_names()) {
    const Capabilities& backend = capabilities_of(name);
    out << format("  %-6s ", name.c_str()) << join(backend.engines(), " ") << '\n';
    rules.push_back(cat("on ", name, ", ", backend.best_engine_rule()));
  }
  out << "  auto: " << join(rules, "; ") << '\n';
}

void list_backends(std::ostream& out) {
  for (const std::string& name : backend_names()) {
    const std::string why = why_not_backend(name);
    out << "  " << name << (name == best_backend() ? "  (auto)" : "")
        << (why.empty() ? "" : cat("  (not here: ", why, ")")) << '\n';
  }
}

void list_comms(std::ostream& out) {
  for (const std::string& name : comm_names()) {
    const std::string why = why_not_comm(name, 1);
    out << "  " << name << (why.empty() ? "" : cat("  (not here: ", why, ")")) << '\n';
  }
}

void list_fabrics(std::ostream& out) {
  for (const std::string& name : fabric_names())
    out << format("  %-16s ", name.c_str()) << find_fabric(name).about << '\n';
}

void list_stages(std::ostream& out) {
  out << format("  %-9s %-17s %-14s %-8s %s\n", "name", "passes", "data", "colour", "does");
  for (const StageInfo& stage : kStages) {
    std::vector<std::string> passes;
    for (const Pass pass : kPasses)
      if (runs_in(stage, pass)) passes.emplace_back(name_of(pass));
    out << format("  %-9s %-17s %-14s ", std::string(stage.name).c_str(), join(passes, " ").c_str(),
                  stage.crosses_ranks ? "between ranks" : "on each rank")
        << stage.colour << "  " << stage.about << '\n';
  }
}

/// In the order of kListTopics.
constexpr std::array<void (*)(std::ostream&), kListTopics.size()> kLists{
    list_suites,  list_presets,  list_gates, list_routings, list_gate_routings,
    list_engines, list_backends, list_comms, list_fabrics,  list_stages};

}  // namespace

ExitCode list_command(const Options& options) {
  std::ostringstream out;
  bool listed = false;
  for (std::size_t i = 0; i < kListTopics.size(); ++i) {
    if (!options.arguments.empty() && options.arguments[0] != kListTopics[i]) continue;
    out << kListTopics[i] << ":\n";
    kLists[i](out);
    listed = true;
  }
  if (!listed) throw_unknown("topic of list", options.arguments[0], {kListTopics.begin(), kListTopics.end()});
  std::cout << folded(out.str(), static_cast<std::size_t>(terminal_columns(STDOUT_FILENO)));
  return ExitCode::ok;
}

}  // namespace moebench
