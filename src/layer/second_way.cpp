// SPDX-License-Identifier: Apache-2.0
#include "layer/second_way.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr std::int64_t kRows = kSecondWayRows;

double squared(double x) { return x * x; }

/// Engines other than the one under test, the plainest first.
std::vector<std::string> other_engines(const Backend& backend, const std::string& tested) {
  const auto all = backend.engines();
  std::vector<std::string> others{"loop", "naive-mask"};
  others.insert(others.end(), all.begin(), all.end());
  std::erase_if(others, [&](const std::string& name) {
    return name == tested || std::find(all.begin(), all.end(), name) == all.end();
  });
  return others;
}

}  // namespace

struct SecondWay::Device {
  std::unique_ptr<Engine> engine;
  Buffer offsets, expert_of_row;
  Tensor w1, b1, w2, b2, dw1, db1, dw2, db2;
  Tensor x, out, dout, dx;
  std::unique_ptr<Comm> comm;
  Tensor sums;  ///< of some tokens, to be summed over the ranks

  ExpertTensors weights() const { return {w1, b1, w2, b2}; }
  ExpertTensors gradients() const { return {dw1, db1, dw2, db2}; }
};

SecondWay::SecondWay(const Workload& workload, World& world, Backend& backend, ThreadPool& pool,
                     const GateDefinition& gate, const std::string& tested, bool backward)
    : workload_(workload),
      shape_(workload.shape()),
      world_(world),
      backend_(backend),
      pool_(pool),
      definition_(gate),
      backward_(backward) {
  std::string failure;
  try {
    failure = allocate(tested);
  } catch (const MemoryError& error) {
    failure = error.what();
  } catch (const std::bad_alloc&) {
    failure = "out of host memory";
  }
  const auto failures = world.gather_text(failure);
  for (std::size_t rank = 0; rank < failures.size() && why_not_.empty(); ++rank)
    if (!failures[rank].empty())
      why_not_ = world.size() == 1 ? failure : cat("rank ", rank, ": ", failures[rank]);
  if (!why_not_.empty()) device_.reset();
  if (device_ && world.size() > 1) device_->comm = world.make_comm(backend.memory(), backend.stream());
}

SecondWay::~SecondWay() = default;

/// Why it cannot be; empty if all it needs is there.
std::string SecondWay::allocate(const std::string& tested) {
  device_ = std::make_unique<Device>();
  Device& d = *device_;
  Memory& memory = backend_.memory();
  const std::int64_t h = shape_.hidden, f = shape_.ffn, w1 = shape_.w1_cols(),
                     rows = std::min(kRows, shape_.tokens);
  for (const std::string& name : other_engines(backend_, tested)) {
    try {
      d.engine = backend_.make_engine(name, {.hidden = h,
                                             .ffn = f,
                                             .experts = 1,
                                             .activation = shape_.activation,
                                             .bias = shape_.bias,
                                             .dtype = shape_.dtype,
                                             .backward = backward_});
    } catch (const UsageError&) {
      continue;  // not in this shape or format
    }
    engine_name_ = name;
    if (!d.engine->traits().gathers_input) break;
    d.engine.reset();
  }
  if (!d.engine) return cat("backend ", backend_.name(), " has no other engine for this shape");
  if (const std::string lack = lacking(rows); !lack.empty()) return lack;
  const auto tensor = [&](std::int64_t tensor_rows, std::int64_t cols) {
    return Tensor(memory, shape_.dtype, tensor_rows, cols);
  };
  d.engine->reserve(rows);
  d.offsets = Buffer(memory, 2 * sizeof(std::int32_t));
  d.expert_of_row =
      Buffer(memory, static_cast<std::size_t>(std::max<std::int64_t>(rows, 1)) * sizeof(std::int32_t));
  const std::vector<std::int32_t> zeros(static_cast<std::size_t>(rows));
  memory.copy_from_host(d.expert_of_row.data(), zeros.data(), zeros.size() * sizeof(std::int32_t));
  d.w1 = tensor(h, w1), d.w2 = tensor(f, h), d.x = tensor(rows, h), d.out = tensor(rows, h);
  if (shape_.bias) d.b1 = tensor(1, w1), d.b2 = tensor(1, h);
  if (backward_) {
    d.dw1 = tensor(h, w1), d.dw2 = tensor(f, h), d.dout = tensor(rows, h), d.dx = tensor(rows, h);
    if (shape_.bias) d.db1 = tensor(1, w1), d.db2 = tensor(1, h);
  }
  if (world_.size() > 1) d.sums = Tensor(memory, DType::fp32, rows, columns());
  sums_.resize(static_cast<std::size_t>(shape_.tokens * columns()));
  rows_.resize(static_cast<std::size_t>(rows * h));
  return {};
}

/// What its buffers need against what there is; empty if that is enough. An estimate for the engine's own.
std::string SecondWay::lacking(std::int64_t rows) const {
  const auto h = static_cast<double>(shape_.hidden), f = static_cast<double>(shape_.ffn),
             w1 = static_cast<double>(shape_.w1_cols()), n = static_cast<double>(rows);
  const double expert = (h * w1 + f * h) * (backward_ ? 2 : 1), activations = n * (4 * h + 2 * w1 + 2 * f);
  const double on_device = (expert + activations) * static_cast<double>(size_of(shape_.dtype));
  const double on_host =
      4 * (static_cast<double>(shape_.tokens) * static_cast<double>(columns()) + n * h + 2 * expert);
  const bool one_memory = backend_.memory().host_accessible();
  const double need = one_memory ? (on_device + on_host) * world_.local_size() : on_device;
  const double there = static_cast<double>(backend_.memory().available_bytes());
  return need <= there ? "" : format("needs %.0f MB, %.0f MB are available", need * 1e-6, there * 1e-6);
}

bool SecondWay::has_gradients_of(std::int64_t expert) const {
  return expert % (shape_.ranks / shape_.ep) == world_.rank() / shape_.ep;
}

SecondResults SecondWay::run(const Oracle& oracle, const GateOutput& gate_output, const TakeGradients& take) {
  SecondResults results;
  const std::span<const std::int32_t> expert_of = gate_output.expert_of;
  score_tokens(oracle, gate_output.chosen, results);
  score_ = gate_output.score;
  std::fill(sums_.begin(), sums_.end(), 0.0f);
  const std::int64_t first = shape_.first_expert(world_.rank());
  std::vector<std::vector<std::int64_t>> slots(static_cast<std::size_t>(shape_.experts_per_rank()));
  for (std::int64_t slot = 0; slot < std::ssize(expert_of); ++slot)
    if (const std::int64_t e = expert_of[slot] - first; e >= 0 && e < std::ssize(slots))
      slots[e].push_back(slot);
  ExpertGradients gradients;
  for (std::int64_t e = 0; e < std::ssize(slots); ++e) {
    if (!has_gradients_of(e)) continue;
    run_expert(oracle, first + e, slots[e], gradients);
    if (backward_) take(e, gradients);
  }
  sum_over_ranks();
  finish(oracle, gate_output.chosen, results);
  return results;
}

/// The gate of this rank's tokens.
void SecondWay::score_tokens(const Oracle& oracle, std::span<const std::int32_t> chosen,
                             SecondResults& results) {
  const std::int64_t h = shape_.hidden, e = shape_.experts, k = shape_.slots_per_token();
  const std::int64_t first = shape_.first_token(world_.rank()), tokens = shape_.tokens_of(world_.rank());
  const UniformField field = workload_.field(Parameter::gate);
  gate_.resize(static_cast<std::size_t>(h * e));
  for (std::int64_t i = 0; i < h * e; ++i)
    gate_[i] = round_to(shape_.router_dtype(), field.at(static_cast<std::uint64_t>(i)));
  results.logits.resize(static_cast<std::size_t>(tokens * e));
  results.score.resize(static_cast<std::size_t>(tokens * k));
  results.score_terms.resize(static_cast<std::size_t>(tokens));
  pool_.parallel_for(tokens, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      double* logits = &results.logits[t * e];
      for (std::int64_t i = 0; i < h; ++i) {
        const double x = oracle.x()[(first + t) * h + i];
        for (std::int64_t j = 0; j < e; ++j) logits[j] += x * gate_[i * e + j];
      }
      definition_.perturb(oracle.step(), first + t, {logits, static_cast<std::size_t>(e)});
      const auto scores =
          definition_.scores({logits, static_cast<std::size_t>(e)}, chosen.subspan((first + t) * k, k));
      std::copy(scores.begin(), scores.end(), &results.score[t * k]);
      double squares = 0;
      for (const double score : scores) squares += squared(score);
      results.score_terms[t] = std::sqrt(squares) * oracle.router_terms(first + t);
    }
  });
}

void SecondWay::run_expert(const Oracle& oracle, std::int64_t expert, std::span<const std::int64_t> slots,
                           ExpertGradients& gradients) {
  const auto zero = [](std::vector<float>& values, std::int64_t count) {
    values.assign(static_cast<std::size_t>(count), 0.0f);
  };
  const std::int64_t h = shape_.hidden, w1 = shape_.w1_cols();
  zero(gradients.w1, h * w1), zero(gradients.w2, shape_.ffn * h);
  zero(gradients.b1, shape_.bias ? w1 : 0), zero(gradients.b2, shape_.bias ? h : 0);
  fill_weights(expert);
  while (!slots.empty()) {
    const std::size_t rows = std::min(slots.size(), static_cast<std::size_t>(kRows));
    run_rows(oracle, slots.first(rows));
    if (backward_) add_gradients(gradients);
    slots = slots.subspan(rows);
  }
}

void SecondWay::fill_weights(std::int64_t expert) {
  const auto fill = [&](const Tensor& tensor, Parameter parameter) {
    if (tensor.view().data) backend_.fill(tensor, workload_.field(parameter), expert * tensor.view().size());
  };
  fill(device_->w1, Parameter::w1);
  fill(device_->b1, Parameter::b1);
  fill(device_->w2, Parameter::w2);
  fill(device_->b2, Parameter::b2);
}

void SecondWay::run_rows(const Oracle& oracle, std::span<const std::int64_t> slots) {
  Device& d = *device_;
  const std::int64_t n = std::ssize(slots), host_offsets[] = {0, n};
  const std::int32_t offsets[] = {0, static_cast<std::int32_t>(n)};
  backend_.memory().copy_from_host(d.offsets.data(), offsets, sizeof offsets);
  upload_rows(d.x, slots, oracle.x(), false);
  const ExpertsForward forward{.x = d.x.view().slice(0, n),
                               .offsets = {d.offsets.as<std::int32_t>(), 2},
                               .host_offsets = host_offsets,
                               .expert_of_row = {d.expert_of_row.as<std::int32_t>(), slots.size()},
                               .weights = d.weights(),
                               .out = d.out.view().slice(0, n)};
  backend_.poison(d.out);
  d.engine->forward(forward);
  add_outputs(oracle, slots);
  if (!backward_) return;
  upload_rows(d.dout, slots, oracle.dy(), true);
  for (const Tensor* tensor : {&d.dx, &d.dw1, &d.db1, &d.dw2, &d.db2})
    if (tensor->view().data) backend_.poison(*tensor);
  d.engine->backward({.forward = forward,
                      .dout = d.dout.view().slice(0, n),
                      .dx = d.dx.view().slice(0, n),
                      .gradients = d.gradients()});
  add_input_gradients(slots);
}

/// The tokens' rows of `from` [T, H], times the slots' scores if `scaled`.
void SecondWay::upload_rows(const Tensor& to, std::span<const std::int64_t> slots,
                            std::span<const float> from, bool scaled) {
  const std::int64_t h = shape_.hidden;
  pool_.parallel_for(std::ssize(slots), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float scale = scaled ? score_[slots[r]] : 1.0f;
      const float* row = &from[slots[r] / shape_.slots_per_token() * h];
      for (std::int64_t i = 0; i < h; ++i) rows_[r * h + i] = scale * row[i];
    }
  });
  backend_.upload(to.view().slice(0, std::ssize(slots)),
                  {rows_.data(), slots.size() * static_cast<std::size_t>(h)});
}

/// Tokens differ within an expert: each row adds to sums of its own.
void SecondWay::add_outputs(const Oracle& oracle, std::span<const std::int64_t> slots) {
  const std::int64_t h = shape_.hidden, k = shape_.slots_per_token();
  backend_.download({rows_.data(), slots.size() * static_cast<std::size_t>(h)},
                    device_->out.view().slice(0, std::ssize(slots)));
  pool_.parallel_for(std::ssize(slots), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t token = slots[r] / k;
      float* sums = &sums_[token * columns()];
      const float* dy = &oracle.dy()[token * h];
      const float score = score_[slots[r]];
      double dscore = 0, out_squares = 0, dscore_squares = 0;
      for (std::int64_t i = 0; i < h; ++i) {
        const float out = rows_[r * h + i];
        sums[i] += score * out;
        out_squares += squared(score * out);
        dscore += double{dy[i]} * out;
        dscore_squares += squared(double{dy[i]} * out);
      }
      sums[2 * h + slots[r] % k] = static_cast<float>(dscore);
      sums[2 * h + k] += static_cast<float>(out_squares);
      sums[2 * h + k + 1] += static_cast<float>(dscore_squares);
    }
  });
}

void SecondWay::add_input_gradients(std::span<const std::int64_t> slots) {
  const std::int64_t h = shape_.hidden, k = shape_.slots_per_token();
  backend_.download({rows_.data(), slots.size() * static_cast<std::size_t>(h)},
                    device_->dx.view().slice(0, std::ssize(slots)));
  pool_.parallel_for(std::ssize(slots), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* sums = &sums_[slots[r] / k * columns()];
      double squares = 0;
      for (std::int64_t i = 0; i < h; ++i) {
        sums[h + i] += rows_[r * h + i];
        squares += squared(rows_[r * h + i]);
      }
      sums[2 * h + k + 2] += static_cast<float>(squares);
    }
  });
}

void SecondWay::add_gradients(ExpertGradients& gradients) {
  std::vector<float> part;
  const auto add = [&](std::vector<float>& to, const Tensor& from) {
    if (to.empty()) return;
    part.resize(to.size());
    backend_.download(part, from);
    pool_.parallel_for(std::ssize(to), 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] += part[i];
    });
  };
  add(gradients.w1, device_->dw1);
  add(gradients.b1, device_->db1);
  add(gradients.w2, device_->dw2);
  add(gradients.b2, device_->db2);
}

/// A slot was computed on one rank, and its token may be on another.
void SecondWay::sum_over_ranks() {
  if (!device_->comm) return;
  for (std::int64_t first = 0; first < shape_.tokens; first += kRows) {
    const std::int64_t tokens = std::min(kRows, shape_.tokens - first);
    const TensorView part = device_->sums.view().slice(0, tokens);
    const std::span<float> host{&sums_[first * columns()], static_cast<std::size_t>(part.size())};
    backend_.upload(part, host);
    device_->comm->all_reduce(part);
    backend_.download(host, part);
  }
}

/// This rank's tokens out of the sums, and what the gate adds to dx.
void SecondWay::finish(const Oracle& oracle, std::span<const std::int32_t> chosen, SecondResults& results) {
  const std::int64_t h = shape_.hidden, k = shape_.slots_per_token();
  const std::int64_t first = shape_.first_token(world_.rank()), tokens = shape_.tokens_of(world_.rank());
  for (auto* rows : {&results.y, &results.dx}) rows->resize(static_cast<std::size_t>(tokens * h));
  for (auto* terms : {&results.y_terms, &results.dx_terms, &results.dscore_terms})
    terms->resize(static_cast<std::size_t>(tokens));
  results.dscore.resize(results.score.size());
  pool_.parallel_for(tokens, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* sums = &sums_[(first + t) * columns()];
      std::copy_n(sums, h, &results.y[t * h]);
      std::copy_n(sums + h, h, &results.dx[t * h]);
      std::copy_n(sums + 2 * h, k, &results.dscore[t * k]);
      results.y_terms[t] = std::sqrt(sums[2 * h + k]);
      results.dscore_terms[t] = std::sqrt(sums[2 * h + k + 1]);
      results.dx_terms[t] = std::sqrt(sums[2 * h + k + 2]);
      if (backward_)
        add_gate(oracle, chosen.subspan((first + t) * k, k), t, results.dscore_terms[t], results);
    }
  });
}

/// What the gate adds to dx of one token.
void SecondWay::add_gate(const Oracle& oracle, std::span<const std::int32_t> chosen, std::int64_t t,
                         double dscore_terms, SecondResults& results) const {
  const std::int64_t h = shape_.hidden, e = shape_.experts, k = shape_.slots_per_token();
  const std::span<const double> logits(&results.logits[t * e], static_cast<std::size_t>(e)),
      scores(&results.score[t * k], static_cast<std::size_t>(k));
  const double* dscore = &results.dscore[t * k];
  const GateSlopes slopes = definition_.slopes(logits, chosen, scores);
  double mean = 0, size = dscore_terms, squares = squared(results.dx_terms[t]);
  for (std::int64_t j = 0; j < k; ++j) {
    mean += slopes.share[j] * dscore[j];
    size = std::max(size, std::abs(dscore[j]));
  }
  for (std::int64_t expert = 0; expert < e; ++expert) {
    const double slope = slopes.slope[expert];
    if (slope == 0) continue;
    const auto j = std::find(chosen.begin(), chosen.end(), expert) - chosen.begin();
    const double dlogit = slope * ((j < k ? dscore[j] : 0) - mean);
    for (std::int64_t i = 0; i < h; ++i) {
      const double w = gate_[i * e + expert];
      results.dx[t * h + i] += dlogit * w;
      squares += squared(slope * size * w);
    }
  }
  if (const auto loss = oracle.loss_gradient(shape_.first_token(world_.rank()) + t, logits))
    for (std::int64_t i = 0; i < h * e; ++i) {
      results.dx[t * h + i / e] += loss->value[i % e] * gate_[i];
      squares += squared(loss->size[i % e] * gate_[i]);
    }
  results.dx_terms[t] = std::sqrt(squares);
}

}  // namespace moebench
