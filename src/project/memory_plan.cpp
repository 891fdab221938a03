// SPDX-License-Identifier: Apache-2.0
#include "project/memory_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "base/text.h"
#include "project/parameters.h"

namespace moebench {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr std::int64_t kMaxTried = 64;  // of each kind of parallelism, where nothing was asked for

std::vector<std::int64_t> powers_of_two(std::int64_t max) {
  std::vector<std::int64_t> values;
  for (std::int64_t value = 1; value <= max; value *= 2) values.push_back(value);
  return values;
}

/// Fills in what the user left open.
MemoryRequest completed(MemoryRequest request, const Model& model) {
  if (request.tp.empty() && request.pp.empty() && request.ep.empty()) {
    request.tp = powers_of_two(8);
    request.pp = powers_of_two(std::min<std::int64_t>(16, model.layers));
    request.ep = powers_of_two(std::min(kMaxTried, model.experts));
  }
  for (auto* sizes : {&request.tp, &request.pp, &request.ep})
    if (sizes->empty()) *sizes = {1};
  if (request.overloads.empty()) request.overloads = {1, 1.5, 2, 4};
  return request;
}

PlannedLayout planned(const Model& model, Layout layout, const MemoryRequest& request, double gpu_bytes) {
  if (!request.gpus) {
    layout.gpus = layout.unit();
    const Fit first = fit_of(model, layout, request.choices, request.overloads.front(), gpu_bytes);
    layout.gpus = first.smallest_gpus.value_or(layout.gpus);
  }
  PlannedLayout plan{.layout = layout};
  for (const double overload : request.overloads)
    plan.fits.push_back(fit_of(model, layout, request.choices, overload, gpu_bytes));
  return plan;
}

/// What fits before what does not; then fewer GPUs and less parallelism that sends messages inside a layer; of those
/// that do not fit the smallest shortfall first.
bool better(const PlannedLayout& a, const PlannedLayout& b) {
  const auto key = [](const PlannedLayout& plan) {
    const Layout& l = plan.layout;
    const bool fits = plan.fits_at_all();
    return std::tuple(!fits, fits ? 0 : -plan.fits.front().free, l.gpus, l.tp, l.pp, l.ep);
  };
  return key(a) < key(b);
}

Json json_of(const Fit& fit) {
  const MemoryUse& use = fit.use;
  Json json{{"overload", fit.overload},
            {"weights_bytes", use.weights},
            {"gradients_bytes", use.gradients},
            {"optimizer_bytes", use.optimizer},
            {"activations_bytes", use.activations},
            {"buffers_bytes", use.buffers()},
            {"total_bytes", use.total()},
            {"free_bytes", fit.free},
            {"fits", fit.free >= 0},
            {"max_tokens", fit.max_tokens}};
  json["smallest_gpus"] = fit.smallest_gpus ? Json(*fit.smallest_gpus) : Json(nullptr);
  json["least_shortfall_bytes"] = fit.min_shortfall;
  return json;
}

Json json_of(const PlannedLayout& plan, const Model& model) {
  const Layout& l = plan.layout;
  const HeldParameters held = held_parameters(model, l);
  Json json{{"gpus", l.gpus},
            {"tp", l.tp},
            {"pp", l.pp},
            {"vp", l.vp},
            {"ep", l.ep},
            {"etp", l.etp},
            {"dp", l.dp()},
            {"expert_dp", l.expert_dp()},
            {"parameters", {{"experts", held.experts}, {"rest", held.rest}}}};
  for (const Fit& fit : plan.fits) json["memory"].push_back(json_of(fit));
  return json;
}

Json json_of(const Model& model) {
  return {{"name", model.name},
          {"parameters", parameters_of(model).total()},
          {"active_parameters", active_parameters(model)},
          {"published_parameters", model.published_total_b * 1e9},
          {"published_active_parameters", model.published_active_b * 1e9},
          {"source", model.source}};
}

Json json_of(const MemoryChoices& choices) {
  return {{"optimizer", name_of(choices.optimizer)},
          {"distributed_optimizer", choices.distributed_optimizer},
          {"offload_optimizer", choices.offload_optimizer},
          {"fp8_weights", choices.fp8_weights},
          {"recompute", name_of(choices.recompute)},
          {"exchange_buffers", name_of(choices.buffers)},
          {"capacity_factor", choices.capacity_factor},
          {"tokens", choices.tokens}};
}

}  // namespace

MemoryPlan plan_memory(const Model& model, const MemoryRequest& request) {
  MemoryPlan plan{.model = model, .gpu = find_gpu(request.gpu), .request = completed(request, model)};
  const MemoryRequest& asked = plan.request;
  if (asked.gpu_gib)
    plan.gpu = {
        .name = "given", .bytes = *asked.gpu_gib * kGiB, .provenance = "given", .source = "--gpu-memory"};
  for (const std::int64_t tp : asked.tp)
    for (const std::int64_t pp : asked.pp)
      for (const std::int64_t ep : asked.ep) {
        Layout layout{.tp = tp, .pp = pp, .vp = asked.vp, .ep = ep, .etp = asked.etp};
        layout.gpus = asked.gpus.value_or(layout.unit());
        if (const std::string why = why_not(layout, model); why.empty())
          plan.layouts.push_back(planned(model, layout, asked, plan.gpu.bytes));
        else if (plan.left_out++ == 0)
          plan.why_left_out = why;
      }
  if (plan.layouts.empty())
    throw UsageError(plan.left_out > 1
                         ? cat("none of ", plan.left_out, " layouts is possible: ", plan.why_left_out)
                         : plan.why_left_out);
  std::stable_sort(plan.layouts.begin(), plan.layouts.end(), better);
  return plan;
}

std::string json_of(const MemoryPlan& plan) {
  Json json{{"schema", "moebench.memory/1"},
            {"provenance", "computed from published sizes; nothing was measured here"},
            {"model", json_of(plan.model)},
            {"gpu",
             {{"name", plan.gpu.name},
              {"memory_bytes", plan.gpu.bytes},
              {"provenance", plan.gpu.provenance},
              {"source", plan.gpu.source}}},
            {"choices", json_of(plan.request.choices)},
            {"layouts", Json::array()},
            {"left_out", plan.left_out}};
  for (const PlannedLayout& layout : plan.layouts) json["layouts"].push_back(json_of(layout, plan.model));
  return json.dump(2) + "\n";
}

}  // namespace moebench
