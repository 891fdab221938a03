// SPDX-License-Identifier: Apache-2.0
#include "bench/why_not.h"

#include <algorithm>

#include "backends/peer_kernels.h"
#include "base/error.h"
#include "base/text.h"
#include "bench/subjects.h"
#include "layer/gates/gate.h"
#include "suite/flag.h"
#include "suite/resolve.h"

namespace moebench {
namespace {

/// Every question of the chain is asked with all of this.
struct Question {
  const Case& bench_case;
  const SubjectEntry& subject;
  const Capabilities& backend;
  std::span<const OtherBackend> others;
};

std::string why_not_shape(const Question& q) { return why_not(q.bench_case); }

/// A case that was not made by resolve() may hold any word.
std::string why_unknown(std::string_view flag, std::string_view word) {
  try {
    Case scratch;
    find_flag(flag).write(scratch, word);
    return {};
  } catch (const UsageError& error) {
    return error.what();
  }
}

std::string why_not_gate(const Question& q) {
  if (std::string why = why_unknown("gate", q.bench_case.gate); !why.empty()) return why;
  if (!q.subject.has_experts) return {};
  const GateEntry& gate = find_gate(q.bench_case.gate);
  const GateOptions& options = q.bench_case.gate_options;
  if (std::string why = gate.why_not(q.bench_case.shape, options); !why.empty()) return why;
  const bool replays = replays_routing(q.bench_case);
  if (!q.bench_case.routing.is_random() && !replays) {  // planted routings are raised logits
    const std::string what = gate.ignores_input || gate.balances ? cat("gate ", gate.name)
                             : options.groups.limit()            ? "a gate with groups"
                             : options.bias > 0                  ? "a gate with a bias"
                                                                 : "";
    if (!what.empty())
      return cat(what, " does not follow routing ", name_of(q.bench_case.routing), "; valid: random",
                 gate.ignores_input ? "" : ", or --routing-via replayed");
  }
  if (replays && (options.capacity.limits() || gate.capacity != "none"))
    return "--capacity drops slots of the gate's own choice, so no routing can be replayed over it; valid: "
           "none";
  if (replays && (gate.ignores_input || gate.second_by_chance || q.bench_case.gate.text() == "noisy-topk"))
    return cat("gate ", q.bench_case.gate, " draws by chance, so no routing can be replayed over it");
  if (q.bench_case.as_rank >= 0 && (options.capacity.limits() || options.bias_update > 0 || gate.balances))
    return "--as-rank draws the rows of absent ranks without their gates: no capacity, no gate sinkhorn and "
           "no bias that moves";
  if (replays && options.bias_update > 0)
    return "the bias that moves follows the gate's own choice, so no routing can be replayed over it; valid: "
           "no --gate-bias-update";
  if (replays && options.losses.any())
    return "the losses of the gate count its own choice, so no routing can be replayed over it; valid: no "
           "--aux-loss, no --z-loss";
  if (std::string why = why_not(options.losses, q.bench_case.shape); !why.empty()) return why;
  return why_not(options.capacity, q.bench_case.shape);
}

std::string why_not_exchange(const Question& q) {
  if (q.bench_case.exchange != Exchange::direct || q.bench_case.shape.ep == 1) return {};
  if (!q.subject.has_experts) return {};
  if (q.bench_case.as_rank >= 0)
    return "exchange direct stores rows at other ranks, and with --as-rank there are none; valid: fused, "
           "per-expert";
  if (q.bench_case.shape.ep > kMaxPeers)
    return cat("exchange direct joins at most ", kMaxPeers, " ranks, not ", q.bench_case.shape.ep);
  if (q.bench_case.overlap == Overlap::tile && q.bench_case.shape.slots > 0)
    return cat("overlap tile keeps room for a row in each of the ", q.bench_case.shape.slots,
               " places of a token under gate ", q.bench_case.gate, "; valid: none, wgrad, peer");
  const EngineShape shape =
      engine_shape_of(q.bench_case.shape, q.bench_case.passes != PassSet::fwd, q.bench_case.streams);
  const EngineTraits traits = q.backend.traits(q.bench_case.engine, shape);
  if (traits.row_order == RowOrder::by_token)
    return cat("exchange direct brings rows by expert, and engine ", q.bench_case.engine,
               " reads them by token");
  if (q.bench_case.overlap != Overlap::none && !traits.takes_parts)
    return cat("overlap ", name_of(q.bench_case.overlap),
               " needs an engine that runs a pass in parts; engine ", q.bench_case.engine, " of backend ",
               q.backend.name(), " does not");
  return {};
}

std::string why_unknown_engine(const Question& q, const std::vector<std::string>& engines) {
  const std::string& engine = q.bench_case.engine;
  for (const OtherBackend& other : q.others) {
    if (std::find(other.engines.begin(), other.engines.end(), engine) == other.engines.end()) continue;
    const std::string why = other.why_not_here();
    return cat(
        "engine ", engine, " is of backend ", other.name,
        why.empty() ? cat(", and this run is on ", q.backend.name()) : cat(", which is not here: ", why));
  }
  return unknown(cat("engine of backend ", q.backend.name()), engine, engines);
}

std::string why_not_engine(const Question& q) {
  if (!q.subject.has_experts) return {};
  const auto engines = q.backend.engines();
  if (std::find(engines.begin(), engines.end(), q.bench_case.engine.text()) == engines.end())
    return why_unknown_engine(q, engines);
  const bool backward = q.bench_case.passes != PassSet::fwd;
  return q.backend.why_not(q.bench_case.engine,
                           engine_shape_of(q.bench_case.shape, backward, q.bench_case.streams));
}

std::string why_not_subject(const Question& q) { return q.subject.why_not(q.bench_case, q.backend); }

std::string why_not_backend(const Question& q) {
  Shape shape = q.bench_case.shape;
  if (!q.subject.has_experts) shape.experts = shape.top_k = 1;  // there is nothing to route
  if (std::string why = q.backend.why_not(shape); !why.empty()) return why;
  if (q.bench_case.threads > 0 && !q.backend.has_threads())
    return cat("backend ", q.backend.name(), " has no threads to set; valid: no --threads");
  if (q.bench_case.graph && !q.backend.has_graphs())
    return cat("backend ", q.backend.name(), " has no graphs to replay; valid: --graph off");
  return {};
}

}  // namespace

std::string why_not(const Case& bench_case, const Capabilities& backend,
                    std::span<const OtherBackend> others) {
  const Question question{bench_case, find_subject(bench_case.subject), backend, others};
  for (const auto ask :
       {why_not_shape, why_not_gate, why_not_exchange, why_not_engine, why_not_subject, why_not_backend})
    if (std::string why = ask(question); !why.empty()) return why;
  return {};
}

std::string size_text(double bytes) {
  struct Unit {
    double bytes;
    const char* name;
  };
  for (const Unit unit : {Unit{1e15, "PB"}, {1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}})
    if (bytes >= unit.bytes) return format("%.1f %s", bytes / unit.bytes, unit.name);
  return format("%.0f bytes", bytes);
}

std::string why_no_room(double needed_bytes, double available_bytes) {
  if (needed_bytes <= available_bytes) return {};
  return cat("needs ", size_text(needed_bytes), " on each rank, ", size_text(available_bytes),
             " are available");
}

std::string why_no_room(const Room& needed, const Room& there, bool one_memory) {
  if (one_memory) return why_no_room(needed.both(), there.host);
  if (std::string why = why_no_room(needed.device, there.device); !why.empty()) return why;
  const std::string why = why_no_room(needed.host, there.host);
  return why.empty() ? why : "in the host's memory: " + why;
}

std::string why_few_ranks(int needed, int running) {
  if (needed <= running) return {};
  return cat("needs ", needed, " ranks, but ", running, running == 1 ? " runs" : " run",
             "; start with mpirun -np ", needed);
}

}  // namespace moebench
