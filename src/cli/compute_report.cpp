// SPDX-License-Identifier: Apache-2.0
#include "cli/compute_report.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "report/document.h"

namespace moebench {
namespace {

/// Whether two ranks of the report computed on one GPU, or it does not say that they did not.
bool shares_a_gpu(const Document& document) {
  const auto& ranks = document.machine.ranks;
  if (document.machine.gpus.empty() || ranks.size() < 2) return false;
  std::set<std::string> seen;
  for (const RankInfo& rank : ranks) {
    const std::string& name = rank.uuid.empty() ? rank.bus_id : rank.uuid;
    if (name.empty() || !seen.insert(cat(rank.host, " ", name)).second) return true;
  }
  return false;
}

/// Whether the case is this layer on one rank, evenly routed and with cold caches; experts, tokens and top-k are the
/// case's own.
bool fits(const Case& point, const Shape& layer) {
  const Shape& shape = point.shape;
  const bool even = point.routing.is_random() || name_of(point.routing) == "balanced";
  return even && point.cache == CacheState::cold && point.subject == SubjectKind::layer && shape.ranks == 1 &&
         shape.hidden == layer.hidden && shape.ffn == layer.ffn && shape.activation == layer.activation &&
         shape.bias == layer.bias && shape.dtype == layer.dtype;
}

ComputePoint point_of(const Record& record) {
  const Shape& shape = record.bench_case.shape;
  ComputePoint point{.experts = shape.experts,
                     .tokens = shape.tokens,
                     .top_k = shape.top_k,
                     .rows = shape.tokens * shape.top_k};
  for (const StageRecord& stage : record.stages) {
    const bool experts = stage.stage == Stage::experts, forward = stage.pass == Pass::forward;
    if (stage.fused_into || (!forward && stage.pass != Pass::backward)) continue;
    (experts ? (forward ? point.experts_forward : point.experts_backward)
             : (forward ? point.other_forward : point.other_backward)) += stage.time.p50;
    point.backward = point.backward || !forward;
  }
  return point;
}

}  // namespace

ComputeTable compute_from(const std::string& path, const Shape& layer, const Fabric& fabric) {
  const Document document = read_document(path);
  const std::string device = document.machine.gpus.empty() ? "no GPU" : document.machine.gpus[0].name;
  if (!fabric.gpu.empty() && device.find(fabric.gpu) == std::string::npos)
    throw UsageError(
        cat("--compute: ", path, " was measured on ", device, ", and ", fabric.name, " has ", fabric.gpu));
  if (shares_a_gpu(document))
    throw UsageError(
        cat("--compute: the ranks of ", path, " share a GPU, or it does not say on which each ran"));
  std::vector<ComputePoint> points;
  std::size_t fitting = 0;
  for (const Record& record : document.points) {
    if (!fits(record.bench_case, layer)) continue;
    ++fitting;
    if (record.status != Status::ok || verdict_of(record) != "ok")
      throw UsageError(cat("--compute: ", path,
                           " holds a case that failed or was not checked: ", record.bench_case.title()));
    if (!record.stages.empty()) points.push_back(point_of(record));
  }
  if (fitting == 0)
    throw UsageError(cat("--compute: no case of ", path, " is this layer on one GPU: hidden ", layer.hidden,
                         ", ffn ", layer.ffn, ", ", name_of(layer.activation), ", bias ",
                         layer.bias ? "on" : "off", ", ", name_of(layer.dtype)));
  if (points.empty())
    throw UsageError(cat("--compute: ", path, " has no times of stages (--no-stages, or graphs)"));
  return {std::move(points), path};
}

}  // namespace moebench
