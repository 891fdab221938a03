// SPDX-License-Identifier: Apache-2.0
#include "project/compute.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/text.h"

namespace moebench {
namespace {

double whole(const ComputePoint& p) {
  return p.experts_forward + p.experts_backward + p.other_forward + p.other_backward;
}

auto key_of(const ComputePoint& p) {
  return std::tuple(p.experts, p.all_experts, p.tokens, p.top_k, p.rows, p.ranks, p.as_rank);
}

/// The value of `field` at `x` of `key`, on the straight line between the two points around it.
double between(const std::vector<ComputePoint>& points, std::int64_t ComputePoint::*key,
               double ComputePoint::*field, std::int64_t x, bool& interpolated) {
  std::vector<ComputePoint> sorted = points;
  std::stable_sort(sorted.begin(), sorted.end(), [&](auto& a, auto& b) { return a.*key < b.*key; });
  const auto high = std::find_if(sorted.begin(), sorted.end(), [&](auto& p) { return p.*key >= x; });
  if ((*high).*key == x || high == sorted.begin()) return (*high).*field;
  const ComputePoint &b = *high, &a = *(high - 1);
  interpolated = true;
  const double share = static_cast<double>(x - a.*key) / static_cast<double>(b.*key - a.*key);
  return a.*field + share * (b.*field - a.*field);
}

std::string outside(const std::vector<ComputePoint>& points, std::int64_t ComputePoint::*key,
                    std::string_view what, std::int64_t x) {
  const auto [min, max] =
      std::minmax_element(points.begin(), points.end(), [&](auto& a, auto& b) { return a.*key < b.*key; });
  if (x >= (*min).*key && x <= (*max).*key) return {};
  return cat(x, " ", what, " are outside the measured ", (*min).*key,
             (*min).*key == (*max).*key ? std::string() : cat(" to ", (*max).*key));
}

}  // namespace

ComputeTable::ComputeTable(std::vector<ComputePoint> points, std::string origin)
    : origin_(std::move(origin)) {
  for (ComputePoint& point : points)
    if (point.all_experts == 0) point.all_experts = point.experts;
  std::stable_sort(points.begin(), points.end(), [](auto& a, auto& b) {
    return std::tuple(key_of(a), whole(a)) < std::tuple(key_of(b), whole(b));
  });
  for (const ComputePoint& point : points)
    if (points_.empty() || key_of(points_.back()) != key_of(point)) points_.push_back(point);
}

bool ComputeTable::has_backward() const {
  return !empty() && std::all_of(points_.begin(), points_.end(), [](auto& p) { return p.backward; });
}

std::vector<ComputePoint> ComputeTable::for_experts(const ComputeNeed& need) const {
  std::vector<ComputePoint> found;
  for (const ComputePoint& point : points_)
    if (point.experts == need.experts) found.push_back(point);
  return found;
}

std::vector<ComputePoint> ComputeTable::for_the_rest(const ComputeNeed& need) const {
  std::int64_t experts = 0;
  for (const ComputePoint& point : points_)
    if (point.top_k == need.top_k && point.all_experts <= need.all_experts)
      experts = std::max(experts, point.all_experts);
  std::vector<ComputePoint> found;
  for (const ComputePoint& point : points_)
    if (point.top_k == need.top_k && point.all_experts == experts) found.push_back(point);
  return found;
}

std::string ComputeTable::why_not(const ComputeNeed& need) const {
  const auto experts = for_experts(need), rest = for_the_rest(need);
  if (experts.empty()) {
    std::set<std::int64_t> measured;
    for (const ComputePoint& point : points_) measured.insert(point.experts);
    std::vector<std::string> names;
    for (const std::int64_t count : measured) names.push_back(cat(count));
    return cat(origin_, " has no case of ", need.experts,
               " experts on one GPU; measured: ", join(names, ", "));
  }
  if (rest.empty())
    return cat(origin_, " has no case of top-k ", need.top_k, " for gate, plan, pack and combine");
  for (const std::string& why : {outside(experts, &ComputePoint::rows, "rows", need.rows),
                                 outside(rest, &ComputePoint::tokens, "tokens", need.tokens)})
    if (!why.empty()) return cat(why, " at ", need.experts, " experts in ", origin_);
  return {};
}

std::optional<ComputeTime> ComputeTable::of_rank(int rank, const ComputeNeed& need) const {
  for (const ComputePoint& p : points_)
    if (p.as_rank == rank && p.ranks == need.ranks && p.experts == need.experts && p.tokens == need.tokens &&
        p.top_k == need.top_k && p.all_experts == need.all_experts)
      return ComputeTime{.experts_forward = p.experts_forward,
                         .experts_backward = p.experts_backward,
                         .other_forward = p.other_forward,
                         .other_backward = p.other_backward,
                         .as_rank = rank,
                         .gate_experts = p.all_experts};
  return {};
}

ComputeTime ComputeTable::at(const ComputeNeed& need) const {
  const auto experts = for_experts(need), rest = for_the_rest(need);
  ComputeTime time{.gate_experts = rest.front().all_experts};
  const auto by_rows = [&](double ComputePoint::*field) {
    return between(experts, &ComputePoint::rows, field, need.rows, time.interpolated);
  };
  const auto by_tokens = [&](double ComputePoint::*field) {
    return between(rest, &ComputePoint::tokens, field, need.tokens, time.interpolated);
  };
  time.experts_forward = by_rows(&ComputePoint::experts_forward);
  time.experts_backward = by_rows(&ComputePoint::experts_backward);
  time.other_forward = by_tokens(&ComputePoint::other_forward);
  time.other_backward = by_tokens(&ComputePoint::other_backward);
  return time;
}

}  // namespace moebench
