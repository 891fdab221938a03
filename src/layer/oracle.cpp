// SPDX-License-Identifier: Apache-2.0
#include "layer/oracle.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "layer/oracle_terms.h"

namespace moebench {

using namespace oracle;

GateOutput all_to_one_expert(std::int64_t tokens) {
  const auto n = static_cast<std::size_t>(tokens);
  const std::vector<std::int32_t> first(n);
  return {first, std::vector<float>(n, 1.0f), std::vector<float>(n, 1.0f), first};
}

Oracle::Oracle(const Workload& workload, int step, GateOutput gate_output, ThreadPool& pool,
               const GateDefinition* gate, const LossOptions& losses)
    : shape_(workload.shape()),
      step_(step),
      gate_output_(std::move(gate_output)),
      pool_(pool),
      topk_(gate ? nullptr : default_gate().define(shape_, {})),
      gate_(gate ? gate : topk_.get()) {
  if (gate_output_.chosen.empty()) gate_output_.chosen = gate_output_.expert_of;
  MB_ASSERT(std::ssize(gate_output_.expert_of) == shape_.tokens * places());
  for (const Parameter id : {Parameter::gate, Parameter::w1, Parameter::b1, Parameter::w2, Parameter::b2})
    fields_[static_cast<std::size_t>(id)] = workload.field(id);
  if (losses.any()) {
    losses_.emplace(*gate_, shape_, losses);
    loss_counts_ = losses_->counts(gate_output_.chosen);
    loss_group_ = losses.group_of(shape_);
  }
  const auto elements = static_cast<std::size_t>(shape_.tokens * shape_.hidden);
  x_.resize(elements);
  dy_.resize(elements);
  workload.input(step, 0, shape_.tokens, x_);
  workload.output_gradient(step, 0, shape_.tokens, dy_);
  for (auto* values : {&x_, &dy_})
    for (float& value : *values) value = round_to(shape_.dtype, value);
  gate_weight_.resize(static_cast<std::size_t>(shape_.hidden * shape_.experts));
  for (std::int64_t i = 0; i < std::ssize(gate_weight_); ++i) gate_weight_[i] = weight(Parameter::gate, i);
  if (shape_.shared_experts > 0)
    shared_ = std::make_unique<Oracle>(workload.shared(), step, all_to_one_expert(shape_.tokens), pool);
}

double Oracle::weight(Parameter parameter, std::int64_t index) const {
  return round_to(parameter == Parameter::gate ? shape_.router_dtype() : shape_.dtype,
                  fields_[static_cast<std::size_t>(parameter)].at(static_cast<std::uint64_t>(index)));
}

void Oracle::score_token(std::int64_t token, OracleToken& result) const {
  const std::int64_t h = shape_.hidden, k = places();
  const auto zeros = [](std::int64_t count) { return std::vector<double>(static_cast<std::size_t>(count)); };
  result = {.logits = logits_of(token),
            .score = {},
            .dscore = zeros(k),
            .dscore_terms = zeros(k),
            .y = zeros(h),
            .dx = zeros(h)};
  result.score = gate_->scores(result.logits, chosen_of(token));
  double squares = 0;
  for (const double score : result.score) squares += squared(score);
  result.score_terms = std::sqrt(squares) * router_terms(token);
}

std::vector<double> Oracle::logits_of(std::int64_t token) const {
  std::vector<double> logits(static_cast<std::size_t>(shape_.experts));
  for (std::int64_t i = 0; i < shape_.hidden; ++i)
    add_scaled(shape_.experts, x_[token * shape_.hidden + i], &gate_weight_[i * shape_.experts],
               logits.data());
  gate_->perturb(step_, token, logits);
  return logits;
}

/// Of one logit of the token: a score errs by as much of itself as a logit errs. The operands are exact.
double Oracle::logit_terms(std::int64_t token) const {
  return router_terms(token) * exact_operands(shape_.dtype) / exact_operands(shape_.router_dtype());
}

double Oracle::router_terms(std::int64_t token) const {
  const auto& gate = fields_[static_cast<std::size_t>(Parameter::gate)];
  const double root_mean_square = gate.amplitude / std::sqrt(3.0);  // of a uniform distribution
  return norm_of(x_, token) * root_mean_square * exact_operands(shape_.router_dtype());
}

double Oracle::norm_of(std::span<const float> tensor, std::int64_t token) const {
  double squares = 0;
  for (const float value : tensor.subspan(token * shape_.hidden, shape_.hidden)) squares += squared(value);
  return std::sqrt(squares);
}

/// Adds what the gate contributes to dx, once dscore is known.
void Oracle::finish_token(std::int64_t token, OracleToken& result) const {
  const std::int64_t h = shape_.hidden, e = shape_.experts, k = places();
  const auto chosen = chosen_of(token);
  const GateSlopes slopes = gate_->slopes(result.logits, chosen, result.score);
  const double mean = dot(k, slopes.share.data(), result.dscore.data());
  double mean_terms = 0;
  for (std::int64_t j = 0; j < k; ++j) mean_terms += squared(slopes.share[j] * result.dscore_terms[j]);
  const double by_logits = std::hypot(1, logit_terms(token));
  double squares = 0;
  for (std::int64_t expert = 0; expert < e; ++expert) {
    if (slopes.slope[expert] == 0) continue;
    const auto j = std::find(chosen.begin(), chosen.end(), expert) - chosen.begin();
    const double dscore = j < k ? result.dscore[j] : 0,
                 terms = j < k ? result.dscore_terms[j] : std::sqrt(mean_terms);
    const double dlogit = slopes.slope[expert] * (dscore - mean);
    const double size =
        slopes.slope[expert] * std::hypot(terms, (std::abs(dscore) + std::abs(mean)) * by_logits);
    for (std::int64_t i = 0; i < h; ++i) {
      const double w = gate_weight_[i * e + expert];
      result.dx[i] += dlogit * w;
      squares += squared(size * w);
    }
  }
  if (const auto loss = loss_gradient(token, result.logits))
    for (std::int64_t expert = 0; expert < e; ++expert)
      for (std::int64_t i = 0; i < h; ++i) {
        const double w = gate_weight_[i * e + expert];
        result.dx[i] += loss->value[expert] * w;
        squares += squared(loss->size[expert] * by_logits * w);
      }
  result.dx_terms = std::sqrt(squared(result.dx_terms) + squares);
}

std::vector<OracleToken> Oracle::tokens(std::span<const std::int64_t> tokens) const {
  std::vector<OracleToken> samples(tokens.size());
  std::vector<std::vector<Row>> rows(static_cast<std::size_t>(shape_.experts));
  std::vector<std::vector<double>> dx_rows(tokens.size() * static_cast<std::size_t>(places()));
  std::vector<std::vector<double>> y_rows(dx_rows.size());
  for (std::int64_t s = 0; s < std::ssize(tokens); ++s)
    for (std::int64_t j = 0; j < places(); ++j)
      if (const std::int32_t expert = gate_output_.expert_of[tokens[s] * places() + j]; expert >= 0)
        rows[expert].push_back({tokens[s], j, s});
  pool_.parallel_for(std::ssize(tokens), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) score_token(tokens[s], samples[s]);
  });
  pool_.parallel_for(shape_.experts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t e = begin; e < end; ++e) run_expert(e, rows[e], samples, y_rows, dx_rows);
  });
  for (std::int64_t s = 0; s < std::ssize(tokens); ++s) {
    double y_squares = 0, dx_squares = 0;
    for (std::int64_t j = 0; j < places(); ++j) {
      const std::int64_t at = s * places() + j;
      if (y_rows[at].empty()) continue;  // dropped
      add_scaled(shape_.hidden, samples[s].score[j], y_rows[at].data(), samples[s].y.data());
      add_scaled(shape_.hidden, 1, dx_rows[at].data(), samples[s].dx.data());
      y_squares += squared(samples[s].score[j]) * y_rows[at].back();
      dx_squares += dx_rows[at].back();
    }
    const double by_scores =
        std::hypot(1, logit_terms(tokens[s]));  // an error of the scores passes on to both
    samples[s].y_terms = std::sqrt(y_squares) * by_scores;
    samples[s].dx_terms = std::sqrt(dx_squares) * by_scores;
    finish_token(tokens[s], samples[s]);
  }
  if (shared_) add_shared(tokens, samples);
  return samples;
}

void Oracle::add_shared(std::span<const std::int64_t> tokens, std::span<OracleToken> samples) const {
  const auto shared = shared_->tokens(tokens);
  for (std::size_t s = 0; s < samples.size(); ++s) {
    add_scaled(shape_.hidden, 1, shared[s].y.data(), samples[s].y.data());
    add_scaled(shape_.hidden, 1, shared[s].dx.data(), samples[s].dx.data());
    samples[s].y_terms = std::hypot(samples[s].y_terms, shared[s].y_terms);
    samples[s].dx_terms = std::hypot(samples[s].dx_terms, shared[s].dx_terms);
  }
}

/// What one expert makes of its rows: forward and backward, n rows at a time.
struct Oracle::Batch {
  std::int64_t expert, n;
  std::span<const Row> rows;
  std::vector<double> x, dout;                  ///< [n, H]
  std::vector<double> pre, dpre;                ///< [n, W1]
  std::vector<double> out, dx;                  ///< [n, H]
  std::vector<double> x_norm, dout_norm;        ///< [n]
  std::vector<double> out_squares, dx_squares;  ///< [n]: of the terms
  std::vector<double> w1_norm;                  ///< [W1]: of the columns of W1
};

Oracle::Batch Oracle::batch_of(std::int64_t expert, std::span<const Row> rows,
                               std::span<const OracleToken> samples) const {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols(), n = std::ssize(rows);
  Batch b{.expert = expert, .n = n, .rows = rows};
  for (auto* values : {&b.x, &b.dout, &b.out, &b.dx}) values->resize(n * h);
  for (auto* values : {&b.pre, &b.dpre}) values->resize(n * w1);
  for (auto* values : {&b.x_norm, &b.dout_norm, &b.out_squares, &b.dx_squares}) values->resize(n);
  b.w1_norm.resize(w1);
  for (std::int64_t r = 0; r < n; ++r) {
    const double score = samples[rows[r].sample].score[rows[r].choice];
    for (std::int64_t i = 0; i < h; ++i) {
      b.x[r * h + i] = x_[rows[r].token * h + i];
      b.dout[r * h + i] = score * dy_[rows[r].token * h + i];
    }
    b.x_norm[r] = norm_of(x_, rows[r].token);
    b.dout_norm[r] = score * norm_of(dy_, rows[r].token);
  }
  return b;
}

/// Three passes over the expert's weights, a row of W1 or W2 at a time, for all its rows together:
/// W1 forward, W2 forward and backward, W1 backward.
void Oracle::run_expert(std::int64_t expert, std::span<const Row> rows, std::span<OracleToken> samples,
                        std::span<std::vector<double>> y_rows, std::span<std::vector<double>> dx_rows) const {
  if (rows.empty()) return;
  Batch batch = batch_of(expert, rows, samples);
  enter(batch);
  cross(batch);
  leave(batch, samples);
  const std::int64_t h = shape_.hidden;
  for (std::int64_t r = 0; r < batch.n; ++r) {
    const std::int64_t at = rows[r].sample * places() + rows[r].choice;
    y_rows[at].assign(batch.out.begin() + r * h, batch.out.begin() + (r + 1) * h);
    dx_rows[at].assign(batch.dx.begin() + r * h, batch.dx.begin() + (r + 1) * h);
    y_rows[at].push_back(batch.out_squares[r]);  // behind the row: its terms
    dx_rows[at].push_back(batch.dx_squares[r]);
  }
}

void Oracle::enter(Batch& b) const {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols();
  std::vector<double> weights(w1);
  const auto load = [&](Parameter parameter, std::int64_t row) {
    for (std::int64_t j = 0; j < w1; ++j) weights[j] = weight(parameter, row * w1 + j);
  };
  if (shape_.bias) load(Parameter::b1, b.expert);
  for (std::int64_t r = 0; r < b.n && shape_.bias; ++r)
    std::copy_n(weights.begin(), w1, b.pre.begin() + r * w1);
  for (std::int64_t i = 0; i < h; ++i) {
    load(Parameter::w1, b.expert * h + i);
    for (std::int64_t j = 0; j < w1; ++j) b.w1_norm[j] += squared(weights[j]);
    for (std::int64_t r = 0; r < b.n; ++r) add_scaled(w1, b.x[r * h + i], weights.data(), &b.pre[r * w1]);
  }
  for (double& norm : b.w1_norm) norm = std::sqrt(norm);
}

void Oracle::cross(Batch& b) const {
  const std::int64_t h = shape_.hidden, f = shape_.ffn, w1 = shape_.w1_cols();
  const double spread = 1 / std::sqrt(static_cast<double>(h));
  const double exact = exact_operands(shape_.dtype);
  std::vector<double> weights(h);
  const auto load = [&](Parameter parameter, std::int64_t row) {
    for (std::int64_t i = 0; i < h; ++i) weights[i] = weight(parameter, row * h + i);
  };
  if (shape_.bias) load(Parameter::b2, b.expert);
  for (std::int64_t r = 0; r < b.n && shape_.bias; ++r) {
    std::copy_n(weights.begin(), h, b.out.begin() + r * h);
    b.out_squares[r] = dot(h, weights.data(), weights.data());
  }
  for (std::int64_t j = 0; j < f; ++j) {
    load(Parameter::w2, b.expert * f + j);
    const double w2_square = dot(h, weights.data(), weights.data());
    for (std::int64_t r = 0; r < b.n; ++r) {
      Sum pre[2];
      for (std::int64_t c = 0; c < w1 / f; ++c)
        pre[c] = {b.pre[r * w1 + c * f + j], b.x_norm[r] * b.w1_norm[c * f + j] * spread * exact};
      const Sum dact{dot(h, &b.dout[r * h], weights.data()), b.dout_norm[r] * std::sqrt(w2_square) * spread};
      add_scaled(h, act(shape_.activation, pre[0].value, pre[1].value), weights.data(), &b.out[r * h]);
      b.dpre[r * w1 + j] = dgate_of(shape_.activation, pre[0].value, pre[1].value, dact.value);
      if (w1 != f) b.dpre[r * w1 + f + j] = dup_of(pre[0].value, dact.value);
      const Sizes sizes = sizes_of(shape_.activation, pre, dact);
      b.out_squares[r] += squared(sizes.act) * w2_square;
      for (std::int64_t c = 0; c < w1 / f; ++c)
        b.dx_squares[r] += squared(sizes.dpre[c] * b.w1_norm[c * f + j]);
    }
  }
}

void Oracle::leave(Batch& b, std::span<OracleToken> samples) const {
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols();
  for (std::int64_t r = 0; r < b.n; ++r) {
    OracleToken& sample = samples[b.rows[r].sample];
    const std::int64_t choice = b.rows[r].choice;
    double squares = 0;
    for (std::int64_t i = 0; i < h; ++i) {
      const double term = double{dy_[b.rows[r].token * h + i]} * b.out[r * h + i];
      sample.dscore[choice] += term;
      squares += squared(term);
    }
    const double dy_square = squared(norm_of(dy_, b.rows[r].token)) / static_cast<double>(h);
    sample.dscore_terms[choice] = std::sqrt(squares + dy_square * b.out_squares[r]);
  }
  std::vector<double> weights(w1);
  for (std::int64_t i = 0; i < h; ++i) {
    for (std::int64_t j = 0; j < w1; ++j) weights[j] = weight(Parameter::w1, (b.expert * h + i) * w1 + j);
    for (std::int64_t r = 0; r < b.n; ++r) b.dx[r * h + i] = dot(w1, &b.dpre[r * w1], weights.data());
  }
}

std::vector<std::int64_t> Oracle::slots_of(std::int64_t expert) const {
  std::vector<std::int64_t> slots;
  for (std::int64_t slot = 0; slot < std::ssize(gate_output_.expert_of); ++slot)
    if (gate_output_.expert_of[slot] == expert) slots.push_back(slot);
  return slots;
}

std::vector<OracleUnit> Oracle::units(std::int64_t expert, std::span<const std::int64_t> units) const {
  const auto slots = slots_of(expert);
  std::vector<OracleUnit> results(units.size());
  pool_.parallel_for(std::ssize(units), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t u = begin; u < end; ++u) unit(expert, units[u], slots, results[u]);
  });
  return results;
}

void Oracle::unit(std::int64_t expert, std::int64_t j, std::span<const std::int64_t> slots,
                  OracleUnit& result) const {
  const std::int64_t h = shape_.hidden, f = shape_.ffn, w1 = shape_.w1_cols(), columns = w1 / f;
  const auto zeros = [](std::int64_t count) { return std::vector<double>(static_cast<std::size_t>(count)); };
  result = {zeros(columns * h), zeros(columns), zeros(h), zeros(columns), zeros(columns)};
  std::vector<double> w1_columns(columns * h), w2_row(h);
  for (std::int64_t i = 0; i < h; ++i) {
    for (std::int64_t c = 0; c < columns; ++c)
      w1_columns[c * h + i] = weight(Parameter::w1, (expert * h + i) * w1 + c * f + j);
    w2_row[i] = weight(Parameter::w2, (expert * f + j) * h + i);
  }
  const double spread = 1 / std::sqrt(static_cast<double>(h));
  const auto norm = [&](const double* row) { return std::sqrt(dot(h, row, row)) * spread; };
  const double w1_norm[2] = {norm(&w1_columns[0]), columns == 2 ? norm(&w1_columns[h]) : 0},
               w2_norm = norm(w2_row.data());
  for (const std::int64_t slot : slots) {
    const std::int64_t token = slot / places();
    const float* x = &x_[token * h];
    const float* dy = &dy_[token * h];
    const double score = gate_output_.score[slot], x_norm = norm_of(x_, token),
                 dout_norm = score * norm_of(dy_, token);
    Sum pre[2], dact{0, dout_norm * w2_norm};
    for (std::int64_t c = 0; c < columns; ++c) {
      pre[c].terms = x_norm * w1_norm[c] * exact_operands(shape_.dtype);
      if (shape_.bias) pre[c].value = weight(Parameter::b1, expert * w1 + c * f + j);
      double product = 0;
      for (std::int64_t i = 0; i < h; ++i) product += x[i] * w1_columns[c * h + i];
      if (shape_.bias) pre[c].terms = std::hypot(pre[c].terms, product);  // may be stored before b1 is added
      pre[c].value += product;
    }
    const double a = act(shape_.activation, pre[0].value, pre[1].value);
    for (std::int64_t i = 0; i < h; ++i) {
      dact.value += score * dy[i] * w2_row[i];
      result.dw2[i] += a * score * dy[i];
    }
    const double dpre[2] = {dgate_of(shape_.activation, pre[0].value, pre[1].value, dact.value),
                            dup_of(pre[0].value, dact.value)};
    const Sizes sizes = sizes_of(shape_.activation, pre, dact);
    result.dw2_terms += squared(sizes.act * dout_norm);
    for (std::int64_t c = 0; c < columns; ++c) {
      result.db1[c] += dpre[c];
      result.db1_terms[c] += squared(sizes.dpre[c]);
      result.dw1_terms[c] += squared(sizes.dpre[c] * x_norm);
      for (std::int64_t i = 0; i < h; ++i) result.dw1[c * h + i] += x[i] * dpre[c];
    }
  }
  result.dw2_terms = std::sqrt(result.dw2_terms);
  for (auto* squares : {&result.dw1_terms, &result.db1_terms})
    for (double& value : *squares) value = std::sqrt(value);
}

std::vector<double> Oracle::db2(std::int64_t expert) const {
  std::vector<double> sum(static_cast<std::size_t>(shape_.hidden));
  for (const std::int64_t slot : slots_of(expert))
    for (std::int64_t i = 0; i < shape_.hidden; ++i)
      sum[i] += double{gate_output_.score[slot]} * dy_[slot / places() * shape_.hidden + i];
  return sum;
}

double Oracle::db2_terms(std::int64_t expert) const {
  double squares = 0;
  for (const std::int64_t slot : slots_of(expert))
    squares += squared(double{gate_output_.score[slot]} * norm_of(dy_, slot / places()));
  return std::sqrt(squares);
}

}  // namespace moebench
