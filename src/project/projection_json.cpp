// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "project/projection.h"

namespace moebench {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Sourced& number) {
  return {{"value", number.value}, {"provenance", name_of(number.provenance)}, {"source", number.source}};
}

Json json_of(const Tier& tier) {
  return {{"nominal_gbs", json_of(tier.nominal_gbs)},
          {"achieved_gbs", json_of(tier.achieved_gbs)},
          {"latency_us", json_of(tier.latency_us)}};
}

Json json_of(const Fabric& fabric) {
  return {{"name", fabric.name},
          {"gpus_per_node", fabric.gpus_per_node},
          {"tiers", fabric.concurrent ? "concurrent" : "serial"},
          {"intra", json_of(fabric.intra)},
          {"inter", fabric.inter ? json_of(*fabric.inter) : Json(nullptr)},
          {"largest_gpus", json_of(fabric.largest_gpus)},
          {"error_pct", json_of(fabric.error_pct)}};
}

Json compute_of(const Projected& row, bool backward) {
  if (!row.compute) return nullptr;
  Json json{
      {"provenance", row.compute->interpolated ? "measured, interpolated between row counts" : "measured"},
      {"as_rank", row.compute->as_rank < 0 ? Json(nullptr) : Json(row.compute->as_rank)},
      {"forward_us", row.compute->forward()},
      {"experts_forward_us", row.compute->experts_forward},
      {"total_us", row.compute_us},
      {"gate_experts", row.compute->gate_experts}};
  if (backward) {
    json["backward_us"] = row.compute->backward();
    json["experts_backward_us"] = row.compute->experts_backward;
  }
  return json;
}

Json json_of(const Projected& row, const Projection& all) {
  Json json{
      {"nodes", row.nodes},
      {"gpus", row.gpus},
      {"ep", row.ep},
      {"experts_per_gpu", row.experts_per_gpu},
      {"rows", {{"worst", row.worst_rows}, {"median", row.median_rows}, {"mean", row.mean_rows}}},
      {"worst_ranks", row.worst_ranks},
      {"median_rank", row.median_rank},
      {"ranks_per_token", row.ranks_per_token},
      {"nodes_per_token", row.nodes_per_token},
      {"net_bytes", row.net_bytes},
      {"node_bytes", row.node_bytes},
      {"exchange",
       {{"provenance", name_of(row.exchange)},
        {"each_us", row.exchange_us},
        {"latency_us", row.latency_us},
        {"net_us", row.net_us},
        {"node_us", row.node_us},
        {"total_us", row.comm_us},
        {"error_pct", row.error_pct}}},
      {"compute", compute_of(row, all.backward)},
      {"no_compute", row.no_compute.empty() ? Json(nullptr) : Json(row.no_compute)},
      {"time",
       {{"overlap_0_us", row.serial_us}, {"overlap_1_us", row.overlapped_us}, {"error_us", row.error_us}}}};
  if (all.request.what_if.overlap) json["time"]["at_overlap_us"] = row.at_overlap_us;
  json["efficiency"] = row.efficiency > 0 ? Json(row.efficiency) : Json(nullptr);
  json["sync_us"] = row.sync_us;
  json["bound"] = name_of(row.limit);
  return json;
}

}  // namespace

std::string json_of(const Projection& all) {
  const Shape& shape = all.shape;
  const WhatIf& what_if = all.request.what_if;
  Json json{{"schema", "moebench.projection/1"},
            {"layer",
             {{"tokens", shape.tokens},
              {"hidden", shape.hidden},
              {"ffn", shape.ffn},
              {"experts", shape.experts},
              {"top-k", shape.top_k},
              {"activation", name_of(shape.activation)},
              {"bias", shape.bias},
              {"dtype", name_of(shape.dtype)},
              {"routing", name_of(all.routing)},
              {"seed", all.seed}}},
            {"passes", all.backward ? "fwd+bwd" : "fwd"},
            {"dedup", name_of(all.request.dedup)},
            {"what_if", what_if.text.empty() ? Json(nullptr) : Json(what_if.text)},
            {"compute_report", all.request.compute.empty() ? Json(nullptr) : Json(all.request.compute)},
            {"fabric", json_of(all.fabric)},
            {"points", Json::array()}};
  for (const Projected& row : all.rows) json["points"].push_back(json_of(row, all));
  return json.dump(2) + "\n";
}

}  // namespace moebench
