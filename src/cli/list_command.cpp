// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <iostream>

#include "base/text.h"
#include "bench/routing_table.h"
#include "cli/commands.h"
#include "cli/list_topics.h"
#include "cli/run_context.h"
#include "layer/gates/gate.h"
#include "moe/routing_distribution.h"
#include "moe/stage.h"
#include "project/fabric.h"
#include "suite/presets.h"
#include "suite/suite_file.h"

namespace moebench {
namespace {

void list_suites() {
  for (const Suite& suite : built_in_suites())
    std::cout << format("  %-16s ", suite.name.c_str()) << suite.question << '\n';
}

void list_presets() {
  std::cout << format("  %-18s %7s %6s %8s %6s  %-11s %-12s %s\n", "name", "hidden", "ffn", "experts",
                      "top-k", "activation", "its gate", "source");
  for (const Preset& preset : presets()) {
    std::cout << format("  %-18s %7lld %6lld %8lld %6lld  %-11s %-12s ", std::string(preset.name).c_str(),
                        static_cast<long long>(preset.hidden), static_cast<long long>(preset.ffn),
                        static_cast<long long>(preset.experts), static_cast<long long>(preset.top_k),
                        cat(name_of(preset.activation), preset.bias ? "+bias" : "").c_str(),
                        std::string(preset.gate.gate).c_str())
              << preset.source << (preset.note.empty() ? "" : "; ") << preset.note << '\n';
  }
}

void list_gates() {
  for (const GateEntry* gate : gates())
    std::cout << format("  %-14s ", std::string(gate->name).c_str()) << gate->help
              << (gate == &default_gate() ? " (default)" : "") << '\n';
}

void list_routings() {
  for (const RoutingKind& kind : routing_kinds()) {
    const std::string word = cat(kind.name, kind.parameter.empty() ? "" : ":", kind.parameter);
    std::cout << format("  %-16s ", word.c_str()) << kind.help;
    if (!kind.parameter.empty() && kind.draw) std::cout << "; " << kind.parameter << " up to " << kind.max;
    std::cout << (&kind == &routing_kinds().front() ? " (default)" : "") << '\n';
  }
}

void list_gate_routings() { std::cout << routing_table(capabilities_of("cpu")); }

void list_engines() {
  std::vector<std::string> rules;
  for (const std::string& name : backend_names()) {
    const Capabilities& backend = capabilities_of(name);
    std::cout << format("  %-6s ", name.c_str()) << join(backend.engines(), " ") << '\n';
    rules.push_back(cat("on ", name, ", ", backend.best_engine_rule()));
  }
  std::cout << "  auto: " << join(rules, "; ") << '\n';
}

void list_backends() {
  for (const std::string& name : backend_names()) {
    const std::string why = why_not_backend(name);
    std::cout << "  " << name << (name == best_backend() ? "  (auto)" : "")
              << (why.empty() ? "" : cat("  (not here: ", why, ")")) << '\n';
  }
}

void list_comms() {
  for (const std::string& name : comm_names()) {
    const std::string why = why_not_comm(name, 1);
    std::cout << "  " << name << (why.empty() ? "" : cat("  (not here: ", why, ")")) << '\n';
  }
}

void list_fabrics() {
  for (const std::string& name : fabric_names())
    std::cout << format("  %-16s ", name.c_str()) << find_fabric(name).about << '\n';
}

void list_stages() {
  std::cout << format("  %-9s %-17s %-14s %-8s %s\n", "name", "passes", "data", "colour", "does");
  for (const StageInfo& stage : kStages) {
    std::vector<std::string> passes;
    for (const Pass pass : kPasses)
      if (runs_in(stage, pass)) passes.emplace_back(name_of(pass));
    std::cout << format("  %-9s %-17s %-14s ", std::string(stage.name).c_str(), join(passes, " ").c_str(),
                        stage.crosses_ranks ? "between ranks" : "on each rank")
              << stage.colour << "  " << stage.about << '\n';
  }
}

/// In the order of kListTopics.
constexpr std::array<void (*)(), kListTopics.size()> kLists{
    list_suites,  list_presets,  list_gates, list_routings, list_gate_routings,
    list_engines, list_backends, list_comms, list_fabrics,  list_stages};

}  // namespace

ExitCode list_command(const Options& options) {
  bool listed = false;
  for (std::size_t i = 0; i < kListTopics.size(); ++i) {
    if (!options.arguments.empty() && options.arguments[0] != kListTopics[i]) continue;
    std::cout << kListTopics[i] << ":\n";
    kLists[i]();
    listed = true;
  }
  if (!listed) throw_unknown("topic of list", options.arguments[0], {kListTopics.begin(), kListTopics.end()});
  return ExitCode::ok;
}

}  // namespace moebench
