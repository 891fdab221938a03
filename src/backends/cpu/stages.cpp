// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/stages.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backends/cpu/blas.h"
#include "backends/cpu/vectorised.h"

namespace moebench::cpu {
namespace {

constexpr std::int64_t kTokenGrain = 8;

Matrix matrix_of(const TensorView& view) { return {view.as<float>(), view.rows, view.cols}; }

/// The K largest of logits [E], best first, the lower expert on a tie: insertion into a short sorted list.
void top_k(const float* logits, std::int64_t experts, std::int64_t k, std::int32_t* chosen) {
  std::int64_t held = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    if (held == k && !(logits[e] > logits[chosen[k - 1]])) continue;
    std::int64_t at = held < k ? held++ : k - 1;
    for (; at > 0 && logits[e] > logits[chosen[at - 1]]; --at) chosen[at] = chosen[at - 1];
    chosen[at] = static_cast<std::int32_t>(e);
  }
}

void softmax_over_kept(const float* logits, const std::int32_t* chosen, std::int64_t k, float* score) {
  float sum = 0;
  for (std::int64_t j = 0; j < k; ++j) sum += score[j] = std::exp(logits[chosen[j]] - logits[chosen[0]]);
  for (std::int64_t j = 0; j < k; ++j) score[j] /= sum;
}

MB_VECTORISED void add_scaled(std::int64_t n, float scale, const float* from, float* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

MB_VECTORISED void set_scaled(std::int64_t n, float scale, const float* from, float* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = scale * from[i];
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
  pool.parallel_for(args.x.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* logits = args.logits.data() + t * experts;
      std::int32_t* chosen = args.expert_of.data() + t * k;
      top_k(logits, experts, k, chosen);
      softmax_over_kept(logits, chosen, k, args.score.data() + t * k);
    }
  });
}

void gate_backward(ThreadPool& pool, const GateBackward& args) {
  const std::int64_t experts = args.weight.cols, k = args.top_k;
  pool.parallel_for(args.x.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* dlogits = args.dlogits.data() + t * experts;
      const float* score = args.score.data() + t * k;
      const float* dscore = args.dscore.data() + t * k;
      float mean = 0;  // Σ score·dscore: the softmax's Jacobian is diag(s) - s·sᵀ
      for (std::int64_t j = 0; j < k; ++j) mean += score[j] * dscore[j];
      std::fill_n(dlogits, experts, 0.0f);
      for (std::int64_t j = 0; j < k; ++j) dlogits[args.expert_of[t * k + j]] = score[j] * (dscore[j] - mean);
    }
  });
  const Matrix dlogits{args.dlogits.data(), args.x.rows, experts};
  gemm(pool, dlogits, transposed(matrix_of(args.weight)), args.dx.as<float>(), true);
  gemm(pool, transposed(matrix_of(args.x)), dlogits, args.dweight.as<float>());
}

void plan(const PlanArgs& args) {
  const auto slots = static_cast<std::int32_t>(args.expert_of.size());
  std::fill(args.counts.begin(), args.counts.end(), 0);
  for (const std::int32_t e : args.expert_of) ++args.counts[e];
  args.offsets[0] = 0;
  for (std::size_t e = 0; e < args.counts.size(); ++e) args.offsets[e + 1] = args.offsets[e] + args.counts[e];
  if (args.order == RowOrder::by_token) {
    std::iota(args.row_of.begin(), args.row_of.end(), 0);
    std::iota(args.slot_of.begin(), args.slot_of.end(), 0);
    return;
  }
  // Counting sort; offsets serve as cursors and are shifted back afterwards.
  for (std::int32_t slot = 0; slot < slots; ++slot) {
    const std::int32_t row = args.offsets[args.expert_of[slot]]++;
    args.row_of[slot] = row;
    if (!args.slot_of.empty()) args.slot_of[row] = slot;
  }
  for (std::size_t e = args.counts.size(); e > 0; --e) args.offsets[e] = args.offsets[e - 1];
  args.offsets[0] = 0;
}

void pack_forward(ThreadPool& pool, const PackForward& args) {
  const std::int64_t h = args.x.cols;
  pool.parallel_for(args.x.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slot = begin * args.top_k; slot < end * args.top_k; ++slot)
      std::memcpy(args.rows.as<float>() + std::int64_t{args.row_of[slot]} * h,
                  args.x.as<float>() + slot / args.top_k * h, h * sizeof(float));
  });
}

void pack_backward(ThreadPool& pool, const PackBackward& args) {
  const std::int64_t h = args.dx.cols, k = args.top_k;
  pool.parallel_for(args.dx.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t j = 0; j < k; ++j) {
        const float* drow = args.drows.as<float>() + std::int64_t{args.row_of[t * k + j]} * h;
        (j == 0 ? set_scaled : add_scaled)(h, 1.0f, drow, args.dx.as<float>() + t * h);
      }
  });
}

void combine_forward(ThreadPool& pool, const CombineForward& args) {
  const std::int64_t h = args.y.cols, k = args.top_k;
  pool.parallel_for(args.y.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t j = 0; j < k; ++j) {
        const float* row = args.rows.as<float>() + std::int64_t{args.row_of[t * k + j]} * h;
        (j == 0 ? set_scaled : add_scaled)(h, args.score[t * k + j], row, args.y.as<float>() + t * h);
      }
  });
}

void combine_backward(ThreadPool& pool, const CombineBackward& args) {
  const std::int64_t h = args.dy.cols, k = args.top_k;
  pool.parallel_for(args.dy.rows, kTokenGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t j = 0; j < k; ++j) {
        const std::int64_t slot = t * k + j, row = args.row_of[slot];
        const float* dy = args.dy.as<float>() + t * h;
        if (!args.dscore.empty()) args.dscore[slot] = dot(h, dy, args.rows.as<float>() + row * h);
        set_scaled(h, args.score[slot], dy, args.drows.as<float>() + row * h);
      }
  });
}

}  // namespace moebench::cpu
