// SPDX-License-Identifier: Apache-2.0
// `moebench project`: the time of an MoE layer on GPUs that are not there (docs/projection.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "project/compute.h"
#include "project/fabric.h"
#include "project/traffic.h"

namespace moebench {

/// What differs from the fabric and the report on purpose; said in every output.
struct WhatIf {
  std::optional<double> nic_gbs, nvlink_gbs, overlap;
  double experts_factor = 1;
  std::string text;  ///< as given; empty for nothing
};
/// "nic=25,overlap=0.5,experts-compute=x0.6". Throws UsageError naming the part and what is valid.
WhatIf parse_what_if(std::string_view text);

struct ProjectRequest {
  std::vector<std::int64_t> nodes;   ///< each a row
  std::optional<int> gpus_per_node;  ///< instead of the fabric's
  std::optional<int> ep;             ///< GPUs that share the experts; else as many as can
  std::string fabric, compute;       ///< a preset or file; a report, or empty
  bool measure = false;              ///< what `compute` lacks is measured here, into it
  Dedup dedup = Dedup::node;
  bool extrapolate = false, selftest = false;
  WhatIf what_if;
};

/// What sets the time of a row.
enum class Limit { compute, latency, nvlink, network };
std::string_view name_of(Limit limit);

/// The layer on one number of nodes. Microseconds, 10^9 bytes per second.
struct Projected {
  std::int64_t nodes = 0;
  int gpus = 0, ep = 1;
  std::int64_t experts_per_gpu = 0, worst_rows = 0, median_rows = 0;
  std::vector<int> worst_ranks;  ///< up to three that may set the time: by rows, then by their exchange
  int median_rank = 0;
  double mean_rows = 0;
  double ranks_per_token = 0, nodes_per_token = 0;
  double net_bytes = 0, node_bytes = 0;            ///< of the busiest GPU, one exchange
  double exchange_us = 0;                          ///< one of the four of a step
  double latency_us = 0, net_us = 0, node_us = 0;  ///< what it is made of, on the rank that sets it
  std::optional<ComputeTime> compute;       ///< of the slowest rank that was run alone, or at the most rows
  std::string no_compute;                   ///< why there is none; empty if there is or none was asked for
  double compute_us = 0, comm_us = 0;       ///< all passes together
  double serial_us = 0, overlapped_us = 0;  ///< overlap 0 and 1: the band
  double at_overlap_us = 0;                 ///< at the overlap of --what-if; 0 if there is none
  double error_us = 0;                      ///< of the exchanges, either way
  double error_pct = 0;                     ///< of one exchange, widened beyond what was fitted
  double efficiency = 0;  ///< compute at mean rows over the time without overlap; 0: unknown
  double sync_us = 0;     ///< gradients, apart: it overlaps with other layers
  Limit limit = Limit::compute;
  Provenance exchange = Provenance::published;
};

struct Projection {
  Shape shape;  ///< tokens of one GPU; ranks and ep of one
  RoutingDistribution routing;
  std::uint64_t seed = 1;
  ProjectRequest request;
  Fabric fabric;  ///< with what --what-if changed
  bool backward = true;
  std::vector<Projected> rows;
};

/// Seconds of one exchange of one rank, and its parts.
struct ExchangeTime {
  double total_us = 0, latency_us = 0, net_us = 0, node_us = 0;
};
ExchangeTime exchange_time(const Fabric& fabric, const RankTraffic& traffic);

/// t = compute + comm − f·min(compute, comm).
double overlapped(double compute_us, double comm_us, double overlap);

/// By how much the error grows: √2 for each doubling beyond the largest number of GPUs that was fitted.
double widening(double gpus, double largest);

/// What is exchanged, and by which ranks; the times of rows are zero. `layer` has the tokens, sizes and routing of one GPU's
/// layer. Draws the routing of each row's job. Throws UsageError: layouts that do not divide, more nodes than the fabric has,
/// more than 8 times what was fitted without --extrapolate.
Projection project_exchanges(const Shape& layer, const RoutingDistribution& routing, std::uint64_t seed,
                             const ProjectRequest& request, const Fabric& fabric);

/// The times of its rows, once: of exchanges alone if `compute` is empty. Throws UsageError if no row can be computed.
void project_times(Projection& all, const ComputeTable& compute);

/// As JSON of the schema moebench.projection/1 (docs/projection.schema.json).
std::string json_of(const Projection& projection);

}  // namespace moebench
