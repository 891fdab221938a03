// SPDX-License-Identifier: Apache-2.0
#include "project/projection.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr double kMaxTimesFitted = 8;    // refused beyond, unless asked for
constexpr double kExtrapolatedFrom = 2;  // times what was fitted
constexpr double kEven =
    0.02;  // rows of the median rank next to the mean: then its time stands for the mean's
constexpr std::int64_t kMaxGpus = 65536;
constexpr Words<Limit, 4> kLimits{{{
    {Limit::compute, "compute"},
    {Limit::latency, "latency"},
    {Limit::nvlink, "nvlink"},
    {Limit::network, "network"},
}}};

double real(std::int64_t value) { return static_cast<double>(value); }

Sourced given(double value) {
  return {.value = value, .provenance = Provenance::given, .source = "--what-if"};
}

Fabric changed(Fabric fabric, const WhatIf& what_if) {
  if (what_if.nic_gbs && !fabric.inter)
    throw UsageError(cat("--what-if nic: the fabric ", fabric.name, " has no links between nodes"));
  if (what_if.nic_gbs) fabric.inter->achieved_gbs = given(*what_if.nic_gbs);
  if (what_if.nvlink_gbs) fabric.intra.achieved_gbs = given(*what_if.nvlink_gbs);
  return fabric;
}

/// The whole job on so many nodes. Throws UsageError if it cannot be.
Shape job_of(const Shape& layer, std::int64_t nodes, const ProjectRequest& request, const Fabric& fabric) {
  const int per_node = request.gpus_per_node.value_or(fabric.gpus_per_node);
  if (per_node > fabric.gpus_per_node)
    throw UsageError(
        cat("--gpus-per-node ", per_node, " exceeds the ", fabric.gpus_per_node, " of ", fabric.name));
  if (nodes > 1 && !fabric.inter)
    throw UsageError(cat("--nodes ", nodes, ": the fabric ", fabric.name, " has no links between nodes"));
  if (nodes > kMaxGpus / per_node)
    throw UsageError(
        cat("--nodes ", nodes, " with ", per_node, " GPUs each are more than ", kMaxGpus, " GPUs"));
  Shape job = layer;
  job.ranks = static_cast<int>(nodes) * per_node;
  job.ep =
      request.ep.value_or(static_cast<int>(std::gcd(static_cast<std::int64_t>(job.ranks), layer.experts)));
  if (job.ranks % job.ep)
    throw UsageError(cat("--ep ", job.ep, " does not divide the ", job.ranks, " GPUs of ", nodes, " nodes"));
  if (layer.experts % job.ep)
    throw UsageError(cat("--ep ", job.ep, " does not divide the ", layer.experts, " experts"));
  job.tokens = layer.tokens * job.ranks;
  if (real(job.ranks) > kMaxTimesFitted * fabric.largest_gpus.value && nodes > 1 && !request.extrapolate)
    throw UsageError(cat("--nodes ", nodes, " are ", job.ranks, " GPUs, more than ", kMaxTimesFitted,
                         " times the ", fabric.largest_gpus.value, " that ", fabric.name,
                         " was fitted on; --extrapolate shows them all the same"));
  return job;
}

Provenance provenance_of(const Fabric& fabric, const Projected& row) {
  const bool across = row.nodes > 1;
  if (across && row.gpus > kExtrapolatedFrom * fabric.largest_gpus.value) return Provenance::extrapolated;
  return (across ? *fabric.inter : fabric.intra).achieved_gbs.provenance;
}

void add_traffic(Projected& row, const Traffic& traffic, const Fabric& fabric) {
  row.ranks_per_token = traffic.ranks_per_token;
  row.nodes_per_token = traffic.nodes_per_token;
  row.median_rows = traffic.median_rows();
  for (const RankTraffic& rank : traffic.ranks) {
    row.worst_rows = std::max(row.worst_rows, rank.rows);
    row.net_bytes = std::max(row.net_bytes, rank.net());
    row.node_bytes = std::max(row.node_bytes, rank.node());
    const ExchangeTime time = exchange_time(fabric, rank);
    if (time.total_us <= row.exchange_us) continue;
    row.exchange_us = time.total_us;
    row.latency_us = time.latency_us;
    row.net_us = time.net_us;
    row.node_us = time.node_us;
  }
}

/// The ranks to run alone: those that may set the time of the whole, and one in the middle.
void choose_ranks(Projected& row, const Traffic& traffic, const Fabric& fabric) {
  std::vector<int> order(traffic.ranks.size());
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](int rank) {
    const RankTraffic& of_rank = traffic.ranks[static_cast<std::size_t>(rank)];
    return std::pair(of_rank.rows, exchange_time(fabric, of_rank).total_us);
  };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) > key(b); });
  row.median_rank = order[order.size() / 2];
  order.resize(std::min<std::size_t>(order.size(), 3));
  row.worst_ranks = std::move(order);
}

void scale_experts(ComputeTime& time, double factor) {
  time.experts_forward *= factor;
  time.experts_backward *= factor;
}

void add_compute(Projected& row, const Shape& layer, const ComputeTable& table, double factor,
                 bool backward) {
  const auto whole = [&](ComputeTime time) {
    scale_experts(time, factor);
    return time.forward() + (backward ? time.backward() : 0);
  };
  ComputeNeed need{.experts = row.experts_per_gpu,
                   .rows = row.worst_rows,
                   .tokens = layer.tokens,
                   .top_k = layer.top_k,
                   .all_experts = layer.experts,
                   .ranks = row.gpus};
  for (const int rank : row.worst_ranks)
    if (const auto alone = table.of_rank(rank, need);
        alone && (!row.compute || whole(*alone) > whole(*row.compute)))
      row.compute = alone;
  if (!row.compute) {
    row.no_compute = table.why_not(need);
    if (!row.no_compute.empty()) return;
    row.compute = table.at(need);
  }
  row.compute_us = whole(*row.compute);
  scale_experts(*row.compute, factor);
  row.efficiency = 0;  // a time, divided by the whole's later
  need.rows = static_cast<std::int64_t>(row.mean_rows);
  const bool even = std::abs(real(row.median_rows) / row.mean_rows - 1) < kEven;
  if (const auto median = table.of_rank(row.median_rank, need); median && even)
    row.efficiency = whole(*median);
  else if (table.why_not(need).empty())
    row.efficiency = whole(table.at(need));
}

Limit limit_of(const Projected& row) {
  if (row.compute && row.compute_us >= row.comm_us) return Limit::compute;
  if (row.comm_us == 0) return Limit::compute;
  if (row.latency_us >= std::max(row.net_us, row.node_us)) return Limit::latency;
  return row.net_us >= row.node_us ? Limit::network : Limit::nvlink;
}

/// Sums of gradients over `ranks` ranks: 2(n−1)/n of the bytes, and the latency of two exchanges.
double sum_us(const Tier& tier, int ranks, double bytes) {
  if (ranks < 2) return 0;
  return 2.0 * (ranks - 1) / ranks * bytes / tier.achieved_gbs.value * 1e-3 + 2 * tier.latency_us.value;
}

double sync_us(const Fabric& fabric, const Shape& job, std::int64_t nodes) {
  const Tier& tier = nodes > 1 ? *fabric.inter : fabric.intra;
  const double element = static_cast<double>(size_of(job.dtype));
  const double gate = real(job.hidden) * real(job.experts) * element;
  const double expert = real(job.hidden) * real(job.w1_cols() + job.ffn) * element;
  return sum_us(tier, job.ranks, gate) +
         sum_us(tier, job.ranks / job.ep, real(job.experts_per_rank()) * expert);
}

/// The exchanges of a row. Draws the routing of the whole job.
Projected drawn(const Projection& all, std::int64_t nodes) {
  const ProjectRequest& request = all.request;
  const Shape job = job_of(all.shape, nodes, request, all.fabric);
  Projected row{.nodes = nodes, .gpus = job.ranks, .ep = job.ep, .experts_per_gpu = job.experts_per_rank()};
  row.mean_rows = real(all.shape.tokens * all.shape.top_k);
  const int per_node = static_cast<int>(job.ranks / nodes);
  const Traffic traffic = draw_traffic(job, all.routing, all.seed, per_node, request.dedup);
  add_traffic(row, traffic, all.fabric);
  choose_ranks(row, traffic, all.fabric);
  row.error_pct =
      all.fabric.error_pct.value * (nodes > 1 ? widening(row.gpus, all.fabric.largest_gpus.value) : 1);
  row.sync_us = sync_us(all.fabric, job, nodes);
  row.exchange = provenance_of(all.fabric, row);
  return row;
}

/// Its times, with compute where `compute` is not empty.
void add_times(Projected& row, const Projection& all, const ComputeTable& compute) {
  const WhatIf& what_if = all.request.what_if;
  if (!compute.empty()) add_compute(row, all.shape, compute, what_if.experts_factor, all.backward);
  row.comm_us = row.exchange_us * (all.backward ? 4 : 2);
  row.serial_us = overlapped(row.compute_us, row.comm_us, 0);
  row.overlapped_us = overlapped(row.compute_us, row.comm_us, 1);
  if (what_if.overlap) row.at_overlap_us = overlapped(row.compute_us, row.comm_us, *what_if.overlap);
  row.error_us = row.error_pct / 100 * row.comm_us;
  row.efficiency = row.serial_us > 0 ? row.efficiency / row.serial_us : 0;
  row.limit = limit_of(row);
}

double number_of(std::string_view part, std::string_view text, double min, double max) {
  const auto value = to_double(text);
  if (!value || !(*value >= min && *value <= max))
    throw UsageError(cat("'", part, "': '", text, "' is not a number from ", min, " to ", max));
  return *value;
}

}  // namespace

std::string_view name_of(Limit limit) { return kLimits.name(limit); }

WhatIf parse_what_if(std::string_view text) {
  WhatIf what_if{.text = std::string(text)};
  for (const std::string& part : split(text, ',')) {
    const auto equals = part.find('=');
    const std::string key(trimmed(std::string_view(part).substr(0, equals)));
    if (equals == std::string::npos)
      throw UsageError(cat("'", part, "' has no =; valid: nic=25,overlap=0.5"));
    std::string_view value = trimmed(std::string_view(part).substr(equals + 1));
    constexpr double kMinGbs = 1e-3, kMaxGbs = 1e6;
    if (key == "nic") {
      what_if.nic_gbs = number_of(part, value, kMinGbs, kMaxGbs);
    } else if (key == "nvlink") {
      what_if.nvlink_gbs = number_of(part, value, kMinGbs, kMaxGbs);
    } else if (key == "overlap") {
      what_if.overlap = number_of(part, value, 0, 1);
    } else if (key == "experts-compute") {
      if (!value.starts_with('x'))
        throw UsageError(cat("'", part, "' is no factor; valid: experts-compute=x0.6"));
      what_if.experts_factor = number_of(part, value.substr(1), 1e-3, 1e3);
    } else {
      throw_unknown("what-if", key, {"nic", "nvlink", "overlap", "experts-compute"});
    }
  }
  return what_if;
}

ExchangeTime exchange_time(const Fabric& fabric, const RankTraffic& traffic) {
  ExchangeTime time;
  const double to_us = 1e-3;  // bytes over 10^9 bytes per second
  time.node_us = traffic.node() / fabric.intra.achieved_gbs.value * to_us;
  if (traffic.net() > 0) time.net_us = traffic.net() / fabric.inter->achieved_gbs.value * to_us;
  if (traffic.net() > 0)
    time.latency_us =
        fabric.inter->latency_us.value + (fabric.concurrent ? 0 : fabric.intra.latency_us.value);
  else if (traffic.node() > 0)
    time.latency_us = fabric.intra.latency_us.value;
  time.total_us = time.latency_us +
                  (fabric.concurrent ? std::max(time.node_us, time.net_us) : time.node_us + time.net_us);
  return time;
}

double overlapped(double compute_us, double comm_us, double overlap) {
  return compute_us + comm_us - overlap * std::min(compute_us, comm_us);
}

double widening(double gpus, double largest) { return gpus > largest ? std::sqrt(gpus / largest) : 1; }

Projection project_exchanges(const Shape& layer, const RoutingDistribution& routing, std::uint64_t seed,
                             const ProjectRequest& request, const Fabric& fabric) {
  Projection all{.shape = layer, .routing = routing, .seed = seed, .request = request};
  all.fabric = changed(fabric, request.what_if);
  for (const std::int64_t nodes : request.nodes)
    job_of(layer, nodes, request, all.fabric);  // refused before any is drawn
  for (const std::int64_t nodes : request.nodes) all.rows.push_back(drawn(all, nodes));
  return all;
}

void project_times(Projection& all, const ComputeTable& compute) {
  all.backward = compute.empty() || compute.has_backward();
  for (Projected& row : all.rows) add_times(row, all, compute);
  const bool none =
      std::none_of(all.rows.begin(), all.rows.end(), [](auto& row) { return row.compute.has_value(); });
  if (!compute.empty() && none) throw UsageError(cat("--compute: ", all.rows.front().no_compute));
}

}  // namespace moebench
