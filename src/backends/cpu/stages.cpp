// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/stages.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "backends/cpu/blas.h"
#include "backends/cpu/vectorised.h"
#include "base/error.h"
#include "base/normal.h"

namespace moebench::cpu {
namespace {

constexpr std::int64_t kTokenGrain = 8;

Matrix matrix_of(const TensorView& view) { return {view.as<float>(), view.rows, view.cols}; }

/// The K largest of these [E], best first, the lower expert on a tie: insertion into a short sorted list.
void top_k(const float* logits, std::int64_t experts, std::int64_t k, std::int32_t* chosen) {
  std::int64_t held = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    if (held == k && !(logits[e] > logits[chosen[k - 1]])) continue;
    std::int64_t at = held < k ? held++ : k - 1;
    for (; at > 0 && logits[e] > logits[chosen[at - 1]]; --at) chosen[at] = chosen[at - 1];
    chosen[at] = static_cast<std::int32_t>(e);
  }
}

float sigmoid(float z) { return 1 / (1 + std::exp(-z)); }
float softplus(float z) { return std::max(z, 0.0f) + std::log1p(std::exp(-std::abs(z))); }

/// What a logit weighs before the weights are divided by their sum.
float weight_of(GateScore score, float logit, float largest) {
  switch (score) {
    case GateScore::softmax_of_chosen:
    case GateScore::softmax:
      return std::exp(logit - largest);
    case GateScore::sigmoid:
      return sigmoid(logit);
    case GateScore::sqrtsoftplus:
      return std::sqrt(softplus(logit));
  }
  MB_ASSERT(false);
}

/// The derivative of a weight by its logit, over the weight.
float relative_slope(GateScore score, float logit) {
  switch (score) {
    case GateScore::softmax_of_chosen:
    case GateScore::softmax:
      return 1;
    case GateScore::sigmoid:
      return sigmoid(-logit);
    case GateScore::sqrtsoftplus:
      return logit < -20 ? 0.5f : sigmoid(logit) / (2 * softplus(logit));
  }
  MB_ASSERT(false);
}

/// Of logits from `first` of this rank on.
void perturb(const GateNoise& noise, std::int64_t first, std::int64_t count, float* logits) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float drawn =
        noise.deviation * normal_at(noise.key, static_cast<std::uint64_t>(noise.first + first + i));
    logits[i] = noise.replaces ? drawn : logits[i] + drawn;
  }
}

/// What experts are ranked by, where that is more than their logits: −∞ for those of groups that are not kept. Group scores
/// are sums from the best down.
/// offsets [E]: those of the token's group, or null.
void rank_by_score(const GateRule& rule, std::span<const float> logits, const float* offsets,
                   std::span<float> ranks) {
  if (offsets) {
    for (std::size_t e = 0; e < ranks.size(); ++e) ranks[e] = logits[e] + offsets[e];
    return;
  }
  for (std::size_t e = 0; e < ranks.size(); ++e)
    ranks[e] = weight_of(rule.score, logits[e], 0) + (rule.bias ? rule.bias[e] : 0);
  if (rule.groups == 1) return;
  constexpr int kMostGroups = 32;
  MB_ASSERT(rule.groups <= kMostGroups);
  float scores[kMostGroups];
  std::int32_t kept[kMostGroups];
  const std::size_t size = ranks.size() / static_cast<std::size_t>(rule.groups);
  std::vector<std::int32_t> best(static_cast<std::size_t>(rule.counted));
  for (int g = 0; g < rule.groups; ++g) {
    const float* of_group = &ranks[static_cast<std::size_t>(g) * size];
    top_k(of_group, static_cast<std::int64_t>(size), rule.counted, best.data());
    scores[g] = 0;
    for (const std::int32_t e : best) scores[g] += of_group[e];
  }
  top_k(scores, rule.groups, rule.kept_groups, kept);
  for (int g = 0; g < rule.groups; ++g)
    if (std::find(kept, kept + rule.kept_groups, g) == kept + rule.kept_groups)
      std::fill_n(&ranks[static_cast<std::size_t>(g) * size], size, -std::numeric_limits<float>::infinity());
}

bool is_softmax(const GateRule& rule) {
  return rule.score == GateScore::softmax_of_chosen || rule.score == GateScore::softmax;
}

/// Of a token's logits: that of the best choice, if choices follow them.
float largest_of(const GateRule& rule, const float* logits, std::int64_t experts,
                 const std::int32_t* chosen) {
  return rule.balance.any() || rule.all_experts ? *std::max_element(logits, logits + experts)
                                                : logits[chosen[0]];
}

/// The scores of the chosen experts.
void score_chosen(const GateRule& rule, const float* logits, std::int64_t experts, const std::int32_t* chosen,
                  std::int64_t k, float* score) {
  const float largest = largest_of(rule, logits, experts, chosen);
  float sum = 0;
  for (std::int64_t j = 0; j < k; ++j) sum += score[j] = weight_of(rule.score, logits[chosen[j]], largest);
  if (rule.score == GateScore::softmax) {
    sum = 0;
    for (std::int64_t e = 0; e < experts; ++e) sum += std::exp(logits[e] - largest);
  }
  if (k == 1 && !is_softmax(rule)) sum = 1;  // sigmoid and sqrtsoftplus of one choice are not normalised
  for (std::int64_t j = 0; j < k; ++j) score[j] *= rule.scale / sum;
}

/// dlogits [E] of one token, from its logits (if the rule needs them), choice, scores and their gradients.
void differentiate_scores(const GateRule& rule, const float* logits, std::int64_t experts,
                          const std::int32_t* chosen, const float* score, const float* dscore, std::int64_t k,
                          float* dlogits) {
  float mean = 0;  // Σ score·dscore: the softmax's Jacobian is diag(s) - s·sᵀ
  for (std::int64_t j = 0; j < k; ++j) mean += score[j] * dscore[j];
  if (!is_softmax(rule)) mean = k == 1 ? 0 : mean / rule.scale;
  std::fill_n(dlogits, experts, 0.0f);
  if (rule.has_dense_gradient()) {
    const float largest = largest_of(rule, logits, experts, chosen);
    float sum = 0;
    for (std::int64_t e = 0; e < experts; ++e) sum += dlogits[e] = std::exp(logits[e] - largest);
    for (std::int64_t e = 0; e < experts; ++e) dlogits[e] *= -mean / sum;
  }
  for (std::int64_t j = 0; j < k; ++j) {
    const float slope =
        rule.differentiates_logits() ? score[j] * relative_slope(rule.score, logits[chosen[j]]) : score[j];
    dlogits[chosen[j]] = slope * (dscore[j] - mean);
  }
}

/// Adds the gradients of the losses to dlogits [E] of one token. counts [E]: the choices of its group, or null.
void add_loss_gradients(const GateRule& rule, const LossFactors& factors, std::span<const float> logits,
                        const std::int32_t* counts, float* dlogits) {
  const float most = *std::max_element(logits.begin(), logits.end());
  float exponentials = 0, weights = 0, mean = 0;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    exponentials += std::exp(logits[e] - most);
    const float weight = weight_of(rule.score, logits[e], most);
    weights += weight;
    if (counts) mean += weight * static_cast<float>(counts[e]);
  }
  mean /= weights;
  const float of_z = factors.z * (most + std::log(exponentials)) / exponentials;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    dlogits[e] += of_z * std::exp(logits[e] - most);
    if (!counts) continue;
    const float slope =
        weight_of(rule.score, logits[e], most) / weights * relative_slope(rule.score, logits[e]);
    dlogits[e] += factors.aux * slope * (static_cast<float>(counts[e]) - mean);
  }
}

/// counts [groups, E] of the choices.
void count_choices(const GateBackward& args) {
  const std::int64_t of_group = args.losses.group * args.top_k, experts = args.weight.cols;
  std::fill(args.counts.begin(), args.counts.end(), 0);
  for (std::int64_t slot = 0; slot < std::ssize(args.expert_of); ++slot)
    ++args.counts[slot / of_group * experts + args.expert_of[slot]];
}

MB_VECTORISED void add_scaled(std::int64_t n, float scale, const float* from, float* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

MB_VECTORISED void set_scaled(std::int64_t n, float scale, const float* from, float* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = scale * from[i];
}

/// to = Σ_j score[j] · rows[row_of[j]] in the order of j, over the slots that have a row; a null score is 1.
void sum_rows(std::int64_t n, const std::int32_t* row_of, std::int64_t k, const float* rows,
              const float* score, float* to) {
  bool any = false;
  for (std::int64_t j = 0; j < k; ++j) {
    if (row_of[j] < 0) continue;
    (any ? add_scaled : set_scaled)(n, score ? score[j] : 1.0f, rows + std::int64_t{row_of[j]} * n, to);
    any = true;
  }
  if (!any) std::fill_n(to, n, 0.0f);
}

/// <a, b> in sixteen partial sums: a fixed order that vectorises.
MB_VECTORISED float dot(std::int64_t n, const float* a, const float* b) {
  float partial[16] = {};
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; ++j) partial[j] += a[i + j] * b[i + j];
  float sum = 0;
  for (; i < n; ++i) sum += a[i] * b[i];
  for (const float p : partial) sum += p;
  return sum;
}

}  // namespace

void gate_forward(ThreadPool& pool, const GateForward& args) {
  const std::int64_t experts = args.weight.cols, k = args.top_k;
  gemm(pool, matrix_of(args.x), matrix_of(args.weight), args.logits.data());
  const GateBalance& balance = args.rule.balance;
  if (balance.any() && args.x.rows > 0) balance_groups(pool, balance, args.logits, experts);
  pool.parallel_for(args.x.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> ranks(args.rule.ranks_by_score() ? static_cast<std::size_t>(experts) : 0);
    for (std::int64_t t = begin; t < end; ++t) {
      float* logits = args.logits.data() + t * experts;
      std::int32_t* chosen = args.expert_of.data() + t * k;
      if (args.rule.noise.deviation > 0) perturb(args.rule.noise, t * experts, experts, logits);
      if (args.rule.ranks_by_score())
        rank_by_score(args.rule, {logits, static_cast<std::size_t>(experts)},
                      balance.any() ? balance.offsets + t / balance.group * experts : nullptr, ranks);
      if (args.rule.all_experts)
        std::iota(chosen, chosen + experts, 0);
      else
        top_k(args.rule.ranks_by_score() ? ranks.data() : logits, experts, k, chosen);
      score_chosen(args.rule, logits, experts, chosen, k, args.score.data() + t * k);
    }
  });
}

void gate_backward(ThreadPool& pool, const GateBackward& args) {
  const std::int64_t experts = args.weight.cols, k = args.top_k;
  if (args.losses.aux > 0) count_choices(args);
  pool.parallel_for(args.x.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* logits = args.rule.differentiates_logits() ? &args.logits[t * experts] : nullptr;
      differentiate_scores(args.rule, logits, experts, args.expert_of.data() + t * k,
                           args.score.data() + t * k, args.dscore.data() + t * k, k,
                           args.dlogits.data() + t * experts);
      if (!args.losses.any()) continue;
      const std::int32_t* counts =
          args.losses.aux > 0 ? &args.counts[t / args.losses.group * experts] : nullptr;
      add_loss_gradients(args.rule, args.losses, args.logits.subspan(t * experts, experts), counts,
                         args.dlogits.data() + t * experts);
    }
  });
  const Matrix dlogits{args.dlogits.data(), args.x.rows, experts};
  gemm(pool, dlogits, transposed(matrix_of(args.weight)), args.dx.as<float>(), true);
  gemm(pool, transposed(matrix_of(args.x)), dlogits, args.dweight.as<float>());
}

void plan(const PlanArgs& args) {
  const auto slots = static_cast<std::int32_t>(args.expert_of.size());
  std::fill(args.counts.begin(), args.counts.end(), 0);
  for (const std::int32_t e : args.expert_of)
    if (e >= 0) ++args.counts[e];
  args.offsets[0] = 0;
  for (std::size_t e = 0; e < args.counts.size(); ++e) args.offsets[e + 1] = args.offsets[e] + args.counts[e];
  if (args.order == RowOrder::by_token) {
    std::iota(args.slot_of.begin(), args.slot_of.end(), 0);
    for (std::int32_t slot = 0; slot < slots; ++slot)
      args.row_of[slot] = args.expert_of[slot] >= 0 ? slot : -1;
    return;
  }
  // Counting sort; offsets serve as cursors and are shifted back afterwards.
  for (std::int32_t slot = 0; slot < slots; ++slot) {
    const std::int32_t expert = args.expert_of[slot];
    const std::int32_t row = args.row_of[slot] = expert >= 0 ? args.offsets[expert]++ : -1;
    if (row < 0) continue;
    if (!args.slot_of.empty()) args.slot_of[row] = slot;
  }
  for (std::size_t e = args.counts.size(); e > 0; --e) args.offsets[e] = args.offsets[e - 1];
  args.offsets[0] = 0;
}

void pack_forward(ThreadPool& pool, const PackForward& args) {
  const std::int64_t h = args.x.cols;
  pool.parallel_for(args.x.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slot = begin * args.top_k; slot < end * args.top_k; ++slot)
      if (const std::int64_t row = args.row_of[slot]; row >= 0)
        std::memcpy(args.rows.as<float>() + row * h, args.x.as<float>() + slot / args.top_k * h,
                    h * sizeof(float));
  });
}

void pack_backward(ThreadPool& pool, const PackBackward& args) {
  const std::int64_t h = args.dx.cols, k = args.top_k;
  pool.parallel_for(args.dx.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      sum_rows(h, &args.row_of[t * k], k, args.drows.as<float>(), nullptr, args.dx.as<float>() + t * h);
  });
}

void regroup(ThreadPool& pool, const Regroup& args) {
  const std::size_t bytes = args.messages.row_bytes();
  pool.parallel_for(std::ssize(args.place), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t begin = args.begin[i], count = args.begin[i + 1] - begin;
      if (count == 0) continue;
      auto* const message = static_cast<std::byte*>(args.messages.data) + begin * bytes;
      auto* const rows = static_cast<std::byte*>(args.by_expert.data) + args.place[i] * bytes;
      std::memcpy(args.to_messages ? message : rows, args.to_messages ? rows : message, count * bytes);
    }
  });
}

void combine_forward(ThreadPool& pool, const CombineForward& args) {
  const std::int64_t h = args.y.cols, k = args.top_k;
  pool.parallel_for(args.y.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      sum_rows(h, &args.row_of[t * k], k, args.rows.as<float>(), &args.score[t * k],
               args.y.as<float>() + t * h);
  });
}

void combine_backward(ThreadPool& pool, const CombineBackward& args) {
  const std::int64_t h = args.dy.cols, k = args.top_k;
  pool.parallel_for(args.dy.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t j = 0; j < k; ++j) {
        const std::int64_t slot = t * k + j, row = args.row_of[slot];
        const float* dy = args.dy.as<float>() + t * h;
        if (row < 0) {
          if (!args.dscore.empty()) args.dscore[slot] = 0;
          continue;
        }
        if (!args.dscore.empty()) args.dscore[slot] = dot(h, dy, args.rows.as<float>() + row * h);
        set_scaled(h, args.score[slot], dy, args.drows.as<float>() + row * h);
      }
  });
}

}  // namespace moebench::cpu
