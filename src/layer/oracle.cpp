// SPDX-License-Identifier: Apache-2.0
#include "layer/oracle.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace moebench {
namespace {

double cdf(double x) { return 0.5 * std::erfc(-x * std::numbers::sqrt2 / 2); }
double gelu(double x) { return x * cdf(x); }
double gelu_slope(double x) { return cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu(double x) { return x * sigmoid(x); }
double silu_slope(double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }

double dot(std::int64_t n, const double* a, const double* b) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void add_scaled(std::int64_t n, double scale, const double* from, double* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

/// act of one hidden unit, from its gate and, for SwiGLU, its up value.
double act(Activation activation, double gate, double up) {
  return activation == Activation::gelu ? gelu(gate) : silu(gate) * up;
}
double dgate_of(Activation activation, double gate, double up, double dact) {
  return dact * (activation == Activation::gelu ? gelu_slope(gate) : silu_slope(gate) * up);
}
double dup_of(double gate, double dact) { return dact * silu(gate); }

}  // namespace

Oracle::Oracle(const Workload& workload, int step, Selection selection, ThreadPool& pool)
    : shape_(workload.shape()), selection_(std::move(selection)), pool_(pool) {
  MB_ASSERT(std::ssize(selection_.expert_of) == shape_.tokens * shape_.top_k);
  for (const Parameter id : {Parameter::gate, Parameter::w1, Parameter::b1, Parameter::w2, Parameter::b2})
    fields_[static_cast<std::size_t>(id)] = workload.field(id);
  const auto elements = static_cast<std::size_t>(shape_.tokens * shape_.hidden);
  x_.resize(elements);
  dy_.resize(elements);
  workload.input(step, 0, shape_.tokens, x_);
  workload.output_gradient(step, 0, shape_.tokens, dy_);
  for (auto* values : {&x_, &dy_})
    for (float& value : *values) value = round_to(shape_.dtype, value);
}

double Oracle::weight(Parameter parameter, std::int64_t index) const {
  return round_to(shape_.dtype,
                  fields_[static_cast<std::size_t>(parameter)].at(static_cast<std::uint64_t>(index)));
}

void Oracle::score_token(std::int64_t token, OracleToken& result) const {
  const std::int64_t h = shape_.hidden, e = shape_.experts, k = shape_.top_k;
  const auto zeros = [](std::int64_t count) { return std::vector<double>(static_cast<std::size_t>(count)); };
  result = {zeros(e), zeros(k), zeros(k), zeros(k), zeros(h), zeros(h)};
  for (std::int64_t i = 0; i < h; ++i)
    for (std::int64_t j = 0; j < e; ++j)
      result.logits[j] += double{x_[token * h + i]} * weight(Parameter::gate, i * e + j);
  double sum = 0;
  const auto logit = [&](std::int64_t j) { return result.logits[selection_.expert_of[token * k + j]]; };
  for (std::int64_t j = 0; j < k; ++j) sum += result.score[j] = std::exp(logit(j) - logit(0));
  for (double& score : result.score) score /= sum;
}

/// Adds what the gate contributes to dx, once dscore is known.
void Oracle::finish_token(std::int64_t token, OracleToken& result) const {
  const std::int64_t h = shape_.hidden, e = shape_.experts, k = shape_.top_k;
  const double mean = dot(k, result.score.data(), result.dscore.data());
  for (std::int64_t j = 0; j < k; ++j) {
    const double dlogit = result.score[j] * (result.dscore[j] - mean);
    const std::int64_t expert = selection_.expert_of[token * k + j];
    for (std::int64_t i = 0; i < h; ++i) result.dx[i] += dlogit * weight(Parameter::gate, i * e + expert);
  }
}

std::vector<OracleToken> Oracle::tokens(std::span<const std::int64_t> tokens) const {
  std::vector<OracleToken> samples(tokens.size());
  std::vector<std::vector<Row>> rows(static_cast<std::size_t>(shape_.experts));
  std::vector<std::vector<double>> dx_rows(tokens.size() * static_cast<std::size_t>(shape_.top_k));
  std::vector<std::vector<double>> y_rows(dx_rows.size());
  for (std::int64_t s = 0; s < std::ssize(tokens); ++s)
    for (std::int64_t j = 0; j < shape_.top_k; ++j)
      rows[selection_.expert_of[tokens[s] * shape_.top_k + j]].push_back({tokens[s], j, s});
  pool_.parallel_for(std::ssize(tokens), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) score_token(tokens[s], samples[s]);
  });
  pool_.parallel_for(shape_.experts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t e = begin; e < end; ++e) run_expert(e, rows[e], samples, y_rows, dx_rows);
  });
  for (std::int64_t s = 0; s < std::ssize(tokens); ++s) {
    for (std::int64_t j = 0; j < shape_.top_k; ++j) {
      const std::int64_t at = s * shape_.top_k + j;
      add_scaled(shape_.hidden, samples[s].score[j], y_rows[at].data(), samples[s].y.data());
      add_scaled(shape_.hidden, 1, dx_rows[at].data(), samples[s].dx.data());
    }
    finish_token(tokens[s], samples[s]);
  }
  return samples;
}

/// Three passes over the expert's weights, a row of W1 or W2 at a time, for all its rows together:
/// W1 forward, W2 forward and backward, W1 backward.
void Oracle::run_expert(std::int64_t expert, std::span<const Row> rows, std::span<OracleToken> samples,
                        std::span<std::vector<double>> y_rows, std::span<std::vector<double>> dx_rows) const {
  const std::int64_t h = shape_.hidden, f = shape_.ffn, w1 = shape_.w1_cols(), n = std::ssize(rows);
  if (n == 0) return;
  std::vector<double> x(n * h), dout(n * h), pre(n * w1), acts(n * f), dpre(n * w1), weights(std::max(h, w1));
  for (std::int64_t r = 0; r < n; ++r)
    for (std::int64_t i = 0; i < h; ++i) {
      x[r * h + i] = x_[rows[r].token * h + i];
      dout[r * h + i] = samples[rows[r].sample].score[rows[r].choice] * dy_[rows[r].token * h + i];
    }
  const auto load_row = [&](Parameter parameter, std::int64_t row, std::int64_t cols) {
    for (std::int64_t j = 0; j < cols; ++j) weights[j] = weight(parameter, row * cols + j);
  };
  const auto out = [&](std::int64_t r) -> std::vector<double>& {
    return y_rows[rows[r].sample * shape_.top_k + rows[r].choice];
  };
  const auto dx = [&](std::int64_t r) -> std::vector<double>& {
    return dx_rows[rows[r].sample * shape_.top_k + rows[r].choice];
  };

  if (shape_.bias) load_row(Parameter::b1, expert, w1);
  for (std::int64_t r = 0; r < n && shape_.bias; ++r) std::copy_n(weights.begin(), w1, pre.begin() + r * w1);
  for (std::int64_t i = 0; i < h; ++i) {
    load_row(Parameter::w1, expert * h + i, w1);
    for (std::int64_t r = 0; r < n; ++r) add_scaled(w1, x[r * h + i], weights.data(), &pre[r * w1]);
  }
  if (shape_.bias) load_row(Parameter::b2, expert, h);
  for (std::int64_t r = 0; r < n; ++r) {
    out(r).assign(h, 0.0);
    if (shape_.bias) std::copy_n(weights.begin(), h, out(r).begin());
  }
  for (std::int64_t j = 0; j < f; ++j) {
    load_row(Parameter::w2, expert * f + j, h);
    for (std::int64_t r = 0; r < n; ++r) {
      const double gate = pre[r * w1 + j], up = w1 == f ? 0 : pre[r * w1 + f + j];
      const double dact = dot(h, &dout[r * h], weights.data());
      add_scaled(h, act(shape_.activation, gate, up), weights.data(), out(r).data());
      dpre[r * w1 + j] = dgate_of(shape_.activation, gate, up, dact);
      if (w1 != f) dpre[r * w1 + f + j] = dup_of(gate, dact);
    }
  }
  for (std::int64_t r = 0; r < n; ++r) {
    double& dscore = samples[rows[r].sample].dscore[rows[r].choice];
    double squares = 0;
    for (std::int64_t i = 0; i < h; ++i) {
      const double term = double{dy_[rows[r].token * h + i]} * out(r)[i];
      dscore += term;
      squares += term * term;
    }
    samples[rows[r].sample].dscore_terms[rows[r].choice] = std::sqrt(squares);
    dx(r).assign(h, 0.0);
  }
  for (std::int64_t i = 0; i < h; ++i) {
    load_row(Parameter::w1, expert * h + i, w1);
    for (std::int64_t r = 0; r < n; ++r) dx(r)[i] = dot(w1, &dpre[r * w1], weights.data());
  }
}

std::vector<std::int64_t> Oracle::slots_of(std::int64_t expert) const {
  std::vector<std::int64_t> slots;
  for (std::int64_t slot = 0; slot < std::ssize(selection_.expert_of); ++slot)
    if (selection_.expert_of[slot] == expert) slots.push_back(slot);
  return slots;
}

std::vector<OracleUnit> Oracle::units(std::int64_t expert, std::span<const std::int64_t> units) const {
  const std::int64_t h = shape_.hidden, f = shape_.ffn, w1 = shape_.w1_cols(), columns = w1 / f;
  const auto slots = slots_of(expert);
  std::vector<OracleUnit> results(units.size());
  pool_.parallel_for(std::ssize(units), 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> w1_columns(columns * h), w2_row(h);
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t j = units[u];
      OracleUnit& result = results[u] = {std::vector<double>(columns * h), std::vector<double>(columns),
                                         std::vector<double>(h)};
      for (std::int64_t i = 0; i < h; ++i) {
        for (std::int64_t c = 0; c < columns; ++c)
          w1_columns[c * h + i] = weight(Parameter::w1, (expert * h + i) * w1 + c * f + j);
        w2_row[i] = weight(Parameter::w2, (expert * f + j) * h + i);
      }
      for (const std::int64_t slot : slots) {
        const float* x = &x_[slot / shape_.top_k * h];
        const float* dy = &dy_[slot / shape_.top_k * h];
        double pre[2] = {}, dact = 0;
        for (std::int64_t c = 0; c < columns; ++c) {
          if (shape_.bias) pre[c] = weight(Parameter::b1, expert * w1 + c * f + j);
          for (std::int64_t i = 0; i < h; ++i) pre[c] += x[i] * w1_columns[c * h + i];
        }
        const double score = selection_.score[slot], a = act(shape_.activation, pre[0], pre[1]);
        for (std::int64_t i = 0; i < h; ++i) {
          dact += score * dy[i] * w2_row[i];
          result.dw2[i] += a * score * dy[i];
        }
        const double dpre[2] = {dgate_of(shape_.activation, pre[0], pre[1], dact), dup_of(pre[0], dact)};
        for (std::int64_t c = 0; c < columns; ++c) {
          result.db1[c] += dpre[c];
          for (std::int64_t i = 0; i < h; ++i) result.dw1[c * h + i] += x[i] * dpre[c];
        }
      }
    }
  });
  return results;
}

std::vector<double> Oracle::db2(std::int64_t expert) const {
  std::vector<double> sum(static_cast<std::size_t>(shape_.hidden));
  for (const std::int64_t slot : slots_of(expert))
    for (std::int64_t i = 0; i < shape_.hidden; ++i)
      sum[i] += double{selection_.score[slot]} * dy_[slot / shape_.top_k * shape_.hidden + i];
  return sum;
}

std::vector<double> Oracle::dgate() const {
  const std::int64_t h = shape_.hidden, e = shape_.experts, k = shape_.top_k;
  std::vector<double> gradient(static_cast<std::size_t>(h * e));
  for (std::int64_t t = 0; t < shape_.tokens; ++t) {
    double mean = 0;
    for (std::int64_t j = 0; j < k; ++j)
      mean += double{selection_.score[t * k + j]} * selection_.dscore[t * k + j];
    for (std::int64_t j = 0; j < k; ++j) {
      const double dlogit = selection_.score[t * k + j] * (selection_.dscore[t * k + j] - mean);
      const std::int64_t expert = selection_.expert_of[t * k + j];
      for (std::int64_t i = 0; i < h; ++i) gradient[i * e + expert] += x_[t * h + i] * dlogit;
    }
  }
  return gradient;
}

}  // namespace moebench
