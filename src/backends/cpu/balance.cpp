// SPDX-License-Identifier: Apache-2.0
// Sinkhorn's algorithm over groups of tokens: the sums of columns of kBalanceTokens tokens at a time, then those of the parts in
// order, so that a result does not depend on the threads.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backends/cpu/stages.h"

namespace moebench::cpu {
namespace {

/// Σ_t exp(z_te − z_t) / (N · Σ_j factor_j·exp(z_tj − z_t)) over some tokens, z_t the largest of the token.
void add_columns(std::span<const float> logits, std::span<const float> factors, std::int64_t group,
                 float* sums) {
  const std::size_t experts = factors.size();
  std::vector<float> weights(experts);
  std::fill_n(sums, experts, 0.0f);
  for (std::size_t first = 0; first < logits.size(); first += experts) {
    const auto row = logits.subspan(first, experts);
    const float largest = *std::max_element(row.begin(), row.end());
    float sum = 0;
    for (std::size_t e = 0; e < experts; ++e) sum += factors[e] * (weights[e] = std::exp(row[e] - largest));
    const float scale = 1 / (sum * static_cast<float>(group));
    for (std::size_t e = 0; e < experts; ++e) sums[e] += scale * weights[e];
  }
}

}  // namespace

void balance_groups(ThreadPool& pool, const GateBalance& balance, std::span<const float> logits,
                    std::int64_t experts) {
  constexpr float kEpsilon = 1e-8f;
  const std::int64_t parts = balance_parts(balance.group),
                     groups = std::ssize(logits) / (balance.group * experts);
  const auto e = static_cast<std::size_t>(experts);
  std::fill_n(balance.offsets, groups * experts, 1.0f);
  for (int i = 0; i < balance.iterations; ++i) {
    pool.parallel_for(groups * parts, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin; at < end; ++at) {
        const std::int64_t group = at / parts, first = at % parts * kBalanceTokens,
                           tokens = std::min(kBalanceTokens, balance.group - first);
        add_columns(logits.subspan((group * balance.group + first) * experts, tokens * experts),
                    {balance.offsets + group * experts, e}, balance.group, balance.scratch + at * experts);
      }
    });
    for (std::int64_t at = 0; at < groups * experts; ++at) {
      const float* const of_parts = balance.scratch + at / experts * parts * experts + at % experts;
      float sum = 0;
      for (std::int64_t part = 0; part < parts; ++part) sum += of_parts[part * experts];
      balance.offsets[at] = 1 / (static_cast<float>(experts) * (sum + kEpsilon));
    }
  }
  for (std::int64_t at = 0; at < groups * experts; ++at) balance.offsets[at] = std::log(balance.offsets[at]);
}

}  // namespace moebench::cpu
