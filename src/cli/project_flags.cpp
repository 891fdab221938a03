// SPDX-License-Identifier: Apache-2.0
// The flags of `moebench project` that are not of a case.
#include "base/error.h"
#include "base/text.h"
#include "cli/options_flags.h"
#include "suite/axis.h"

namespace moebench {
namespace {

constexpr std::string_view kLayer = "Which layer", kMachine = "On what", kOutput = "Output";
constexpr std::int64_t kMaxNodes = 65536;
const std::vector<Command> kProject{Command::project};

std::vector<std::int64_t> axis(std::string_view name, std::string_view text) {
  std::vector<std::int64_t> values;
  for (const std::string& value :
       expand_axis({.name = name, .number = true, .min = 1, .max = kMaxNodes}, text))
    values.push_back(*to_int(value));
  return values;
}

int one(std::string_view name, std::string_view text) {
  const auto values = axis(name, text);
  if (values.size() != 1) throw UsageError(cat("'", text, "' is not one value"));
  return static_cast<int>(values.front());
}

std::vector<OptionFlag> machine_flags() {
  return {
      {kLayer, "preset", "NAME", "", "the layer of a published model; see 'moebench list presets'", kProject,
       [](Options& o, std::string_view v) { o.sweep.preset = v; }},
      {kMachine, "fabric", "NAME|FILE", "", "links: a preset of 'moebench list fabrics', or a .json file",
       kProject, [](Options& o, std::string_view v) { o.project.fabric = v; }},
      {kMachine, "nodes", "N", "1", "each a row of the table; 1,2,4:64:*2", kProject,
       [](Options& o, std::string_view v) { o.project.nodes = axis("nodes", v); }, true},
      {kMachine, "gpus-per-node", "N", "", "default: the fabric's", kProject,
       [](Options& o, std::string_view v) { o.project.gpus_per_node = one("gpus-per-node", v); }},
      {kMachine, "ep", "N", "", "GPUs that share the experts; default: as many as divide both", kProject,
       [](Options& o, std::string_view v) { o.project.ep = one("ep", v); }},
      {kMachine, "dedup", "none|rank|node", "node", "how often a row travels: per expert, GPU or node",
       kProject, [](Options& o, std::string_view v) { o.project.dedup = parse_dedup(v); }},
      {kMachine, "compute", "REPORT", "",
       "times of one GPU, from 'moebench run' on one rank or with --as-rank", kProject,
       [](Options& o, std::string_view v) { o.project.compute = v; }},
      {kMachine, "measure", "", "",
       "run the ranks that may set the time here, one by one, into --compute REPORT", kProject,
       [](Options& o, std::string_view v) { o.project.measure = parse_on(v); }},
      {kMachine, "what-if", "KEY=V,…", "",
       "nic=25,nvlink=300,overlap=0.5,experts-compute=x0.6; said in every output", kProject,
       [](Options& o, std::string_view v) { o.project.what_if = parse_what_if(v); }},
      {kMachine, "extrapolate", "", "", "also beyond 8 times the GPUs that the fabric was fitted on",
       kProject, [](Options& o, std::string_view v) { o.project.extrapolate = parse_on(v); }},
      {kMachine, "selftest", "", "", "fit the published tables again, and predict what was held out",
       kProject, [](Options& o, std::string_view v) { o.project.selftest = parse_on(v); }},
  };
}

}  // namespace

std::vector<OptionFlag> project_flags() {
  std::vector<OptionFlag> flags = machine_flags();
  flags.push_back({kOutput, "json", "FILE", "",
                   "write all of it here as JSON; -: stdout, and the table goes to stderr", kProject,
                   [](Options& o, std::string_view v) { o.json = v; }});
  flags.push_back({kOutput, "force", "", "", "replace a file that exists", kProject,
                   [](Options& o, std::string_view v) { o.force = parse_on(v); }});
  return flags;
}

}  // namespace moebench
