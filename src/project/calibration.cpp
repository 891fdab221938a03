// SPDX-License-Identifier: Apache-2.0
#include "project/calibration.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "project/line_fit.h"

namespace moebench {
namespace {

using Json = nlohmann::ordered_json;

/// Adds the tier's largest residual to `error_pct` if it is larger.
Tier fitted_tier(std::string_view name, std::span<const MeasuredExchange> exchanges, const std::string& how,
                 double& worst_pct) {
  std::vector<TimedBytes> points;
  double best_gbs = 0;
  for (const MeasuredExchange& exchange : exchanges) {
    points.push_back({exchange.bytes, exchange.us * 1e-6});
    best_gbs = std::max(best_gbs, exchange.bytes / exchange.us * 1e-3);
  }
  if (points.size() < 3)
    throw UsageError(
        cat("calibrate needs three sizes ", name, ", not ", points.size(), "; give more --bytes"));
  const Line line = fit_link(points);
  worst_pct = std::max(worst_pct, largest_error_pct(line, points));
  const std::string source = cat("line through ", points.size(), " exchanges, ", how);
  return {.nominal_gbs = {std::max(best_gbs, line.bytes_per_s * 1e-9), Provenance::measured,
                          cat("the fastest exchange, ", how)},
          .achieved_gbs = {line.bytes_per_s * 1e-9, Provenance::fitted, source},
          .latency_us = {line.latency_s * 1e6, Provenance::fitted, source}};
}

Json to_json(const Sourced& number) {
  return {{"value", number.value}, {"provenance", name_of(number.provenance)}, {"source", number.source}};
}

Json to_json(const Tier& tier) {
  return {{"nominal_gbs", to_json(tier.nominal_gbs)},
          {"achieved_gbs", to_json(tier.achieved_gbs)},
          {"latency_us", to_json(tier.latency_us)}};
}

}  // namespace

Fabric calibrated(const CalibrationInput& input) {
  double worst_pct = 0;
  Fabric fabric{
      .name = input.name,
      .about = input.about,
      .gpu = input.gpu,
      .gpus_per_node = input.ranks_per_host,
      .concurrent = false,
      .intra = {},
      .inter = {},
      .largest_gpus = {static_cast<double>(input.ranks), Provenance::measured, "ranks that were measured"},
      .error_pct = {}};
  const bool has_intra = !input.within_host.empty(), has_inter = !input.between_hosts.empty();
  if (!has_intra && !has_inter) throw UsageError("calibrate needs at least two ranks");
  if (has_intra) fabric.intra = fitted_tier("within a host", input.within_host, input.how, worst_pct);
  if (has_inter) fabric.inter = fitted_tier("between hosts", input.between_hosts, input.how, worst_pct);
  if (!has_intra) fabric.intra = *fabric.inter;  // one rank per host: nothing crosses it
  fabric.error_pct = {worst_pct, Provenance::fitted, "the largest residual of the lines"};
  return fabric;
}

std::string json_of(const Fabric& fabric) {
  Json json{{"schema", "moebench.fabric/1"}, {"name", fabric.name}, {"about", fabric.about}};
  if (!fabric.gpu.empty()) json["gpu"] = fabric.gpu;
  json["gpus_per_node"] = fabric.gpus_per_node;
  json["tiers"] = fabric.concurrent ? "concurrent" : "serial";
  json["intra"] = to_json(fabric.intra);
  if (fabric.inter) json["inter"] = to_json(*fabric.inter);
  json["largest_gpus"] = to_json(fabric.largest_gpus);
  json["error_pct"] = to_json(fabric.error_pct);
  return json.dump(2) + "\n";
}

}  // namespace moebench
