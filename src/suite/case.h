// SPDX-License-Identifier: Apache-2.0
// One thing to measure: a point of a sweep.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/exchange.h"
#include "moe/gate_options.h"
#include "moe/shape.h"
#include "moe/stage.h"
#include "moe/workload.h"
#include "suite/word.h"
#include "trace/trace_selection.h"

namespace moebench {

/// What is timed. layer: the MoE layer. linear: one matrix product [T, H]·[H, F] (the paper's Figure 3).
/// dense: one FFN of the same active FLOPs, every token through K·F columns, no routing.
enum class SubjectKind { layer, linear, dense };

/// fwd: forward only. fwd_bwd: forward, then backward. step: forward, backward, gradient sync.
enum class PassSet { fwd, fwd_bwd, step };

/// What an iteration finds in the last-level cache. cold: other inputs than its own. hot: its own. flushed: nothing of
/// the layer, weights included.
enum class CacheState { cold, hot, flushed };

/// How a routing comes about. planted: inputs are made so that the gate computes it. replayed: the gate runs, and its choice
/// is then replaced. automatic: planted where that can be, but for what was recorded.
enum class RoutingVia { automatic, planted, replayed };

std::string_view name_of(SubjectKind subject);
SubjectKind parse_subject(std::string_view word);
std::string_view name_of(PassSet passes);  // "fwd", "fwd+bwd", "step"
PassSet parse_passes(std::string_view word);
std::vector<Pass> passes_of(PassSet passes);
/// The default of --pass for a subject: both passes of those that have two.
PassSet default_passes(SubjectKind subject);
std::string_view name_of(CacheState cache);
CacheState parse_cache(std::string_view word);
std::string_view name_of(RoutingVia via);  // "auto", "planted", "replayed"
RoutingVia parse_routing_via(std::string_view word);

/// Everything that decides what a case computes; how long it is sampled is in bench/sampling.h.
struct Case {
  SubjectKind subject = SubjectKind::layer;
  Shape shape;
  int as_rank = -1;  ///< the only rank of shape.ranks that is run, without the others; −1: all are
  RoutingDistribution routing;
  RoutingVia routing_via = RoutingVia::automatic;
  int steps = 0;     ///< routing steps that iterations rotate through; 0: as the routing has
  TraceFacts trace;  ///< of routing `trace`, once the file was looked at (expand_sweep); steps is 0 before
  double target_imbalance = 0;  ///< max / mean over experts that routing's parameter was found for; 0: none
  PassSet passes = PassSet::fwd_bwd;
  BackendName backend = "cpu";
  int threads = 0;  ///< of each rank, on the cpu backend; 0: one for each of its cores
  EngineName engine = "loop";
  int streams = 16;  ///< of engine streams
  CommName comm = "self";
  Exchange exchange = Exchange::fused;
  Overlap overlap = Overlap::none;
  bool auto_exchange = false, auto_overlap = false;  ///< until resolve(): the best that can run here
  int comm_sms = 16;  ///< multiprocessors of an exchange that runs beside the experts
  GateName gate = "topk";
  GateOptions gate_options;
  bool graph = false;  ///< passes are replayed as graphs of the device, not queued call by call
  CacheState cache = CacheState::cold;
  std::uint64_t seed = 1;

  /// The axes that vary over the sweep, as typed: ("experts", "8"). What tables show and files name.
  std::vector<std::pair<std::string, std::string>> axes;

  /// Processes that run it.
  int processes() const { return as_rank < 0 ? shape.ranks : 1; }
  /// Why its results cannot be checked; empty if they can.
  std::string_view why_not_checked() const {
    return as_rank < 0 ? "" : "one rank alone, and rows of other ranks are stand-ins";
  }
  /// "layer experts=8 engine=loop", or the subject alone for a single case.
  std::string title() const;
  /// Every field as (flag, value) pairs in table order: what reports hold and `compare` and --resume match by.
  std::vector<std::pair<std::string, std::string>> settings() const;
  /// Those of them that change what this case computes: a dense network has no gate. What plans and captions show.
  std::vector<std::pair<std::string, std::string>> shown_settings() const;
};

/// Whether the case's routing is replayed, not computed by the gate.
bool replays_routing(const Case& bench_case);
/// How many routing steps iterations rotate through: --steps, or the period of a routing that changes with the step, or the
/// steps of a trace. 0: every input set has a routing of its own.
int routing_steps_of(const Case& bench_case);

}  // namespace moebench
