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

/// Whether the case is this layer on one rank, evenly routed; experts, tokens and top-k are the case's own. Or one rank of
/// a job of this layer and its routing, alone.
bool is_one_rank(const Case& point, const Case& layer) {
  const Shape& shape = point.shape;
  if (point.as_rank < 0)
    return shape.ranks == 1 && (point.routing.is_random() || name_of(point.routing) == "balanced");
  return name_of(point.routing) == name_of(layer.routing) && point.seed == layer.seed &&
         shape.experts == layer.shape.experts && shape.top_k == layer.shape.top_k;
}

bool fits(const Case& point, const Case& layer) {
  const Shape &shape = point.shape, &wanted = layer.shape;
  return is_one_rank(point, layer) && point.cache == CacheState::cold &&
         point.subject == SubjectKind::layer && shape.hidden == wanted.hidden && shape.ffn == wanted.ffn &&
         shape.activation == wanted.activation && shape.bias == wanted.bias && shape.dtype == wanted.dtype;
}

ComputePoint point_of(const Record& record) {
  const Case& of = record.bench_case;
  const Shape& shape = of.shape;
  const bool alone = of.as_rank >= 0;
  ComputePoint point{
      .experts = shape.experts_per_rank(),
      .tokens = alone ? shape.tokens_of(of.as_rank) : shape.tokens,
      .top_k = shape.top_k,
      .rows = alone ? static_cast<std::int64_t>(record.ranks.rows.front()) : shape.tokens * shape.top_k,
      .all_experts = shape.experts,
      .ranks = shape.ranks,
      .as_rank = of.as_rank};
  for (const StageRecord& stage : record.stages) {
    const bool experts = stage.stage == Stage::experts, forward = stage.pass == Pass::forward;
    if (stage_info(stage.stage).crosses_ranks) continue;  // of one rank alone it is a copy of its own rows
    if (stage.fused_into || (!forward && stage.pass != Pass::backward)) continue;
    (experts ? (forward ? point.experts_forward : point.experts_backward)
             : (forward ? point.other_forward : point.other_backward)) += stage.time.p50;
    point.backward = point.backward || !forward;
  }
  return point;
}

}  // namespace

ComputeTable compute_from(const std::string& path, const Case& layer, const Fabric& fabric) {
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
    const bool checked = !record.bench_case.why_not_checked().empty() || verdict_of(record) == "ok";
    if (record.status != Status::ok || !checked)
      throw UsageError(cat("--compute: ", path,
                           " holds a case that failed or was not checked: ", record.bench_case.title()));
    if (record.bench_case.as_rank >= 0 && record.ranks.rows.empty())
      throw UsageError(cat("--compute: ", path, " lacks the rows (ranks.rows) of a rank that ran alone: ",
                           record.bench_case.title()));
    if (!record.stages.empty()) points.push_back(point_of(record));
  }
  const Shape& shape = layer.shape;
  if (fitting == 0)
    throw UsageError(cat("--compute: no case of ", path, " is this layer on one GPU: hidden ", shape.hidden,
                         ", ffn ", shape.ffn, ", ", name_of(shape.activation), ", bias ",
                         shape.bias ? "on" : "off", ", ", name_of(shape.dtype)));
  if (points.empty())
    throw UsageError(cat("--compute: ", path, " has no times of stages (--no-stages, or graphs)"));
  return {std::move(points), path};
}

}  // namespace moebench
