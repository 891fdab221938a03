// SPDX-License-Identifier: Apache-2.0
#include "layer/verify.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "layer/difference.h"
#include "layer/oracle.h"

namespace moebench {
namespace {

template <class T>
std::vector<T> read(Memory& memory, std::span<const T> device) {
  std::vector<T> host(device.size());
  memory.copy_to_host(host.data(), device.data(), device.size_bytes());
  return host;
}

/// One verification: the layer's results on the host, and the comparisons made so far.
class Verification {
 public:
  Verification(Layer& layer, const Workload& workload, World& world, Backend& backend,
               const VerifyOptions& options, Trace& trace)
      : layer_(layer),
        shape_(workload.shape()),
        world_(world),
        backend_(backend),
        options_(options),
        first_(shape_.first_token(world.rank())),
        tokens_(shape_.tokens_of(world.rank())) {
    run(workload, trace);
  }

  void compare(const Workload& workload, ThreadPool& pool) {
    const Routing& routing = layer_.routing();
    Memory& memory = backend_.memory();
    const auto mine = read<std::int32_t>(memory, routing.expert_of);
    Selection selection{gather_all(world_, mine), gather_all(world_, read<float>(memory, routing.score)),
                        gather_all(world_, read<float>(memory, routing.dscore))};
    const bool lawful = is_lawful(selection);
    add("gate", lawful ? 0 : std::numeric_limits<double>::quiet_NaN(), 0);
    if (!lawful) return;  // the rest would be computed for experts that do not exist
    const Oracle oracle(workload, options_.step, selection, pool);
    compare_tokens(oracle, selection);
    if (options_.backward) compare_gradients(oracle);
  }

  std::vector<CheckItem> items() {
    take_largest(world_, items_);
    return items_;
  }

 private:
  void run(const Workload& workload, Trace& trace) {
    layer_.load(workload);
    const auto tensor = [&] { return Tensor(backend_.memory(), shape_.dtype, tokens_, shape_.hidden); };
    const Tensor x = tensor(), y = tensor(), dy = tensor(), dx = tensor();
    std::vector<float> host(static_cast<std::size_t>(tokens_ * shape_.hidden));
    workload.input(options_.step, first_, tokens_, host);
    backend_.upload(x, host);
    workload.output_gradient(options_.step, first_, tokens_, host);
    backend_.upload(dy, host);
    backend_.poison(y);
    backend_.poison(dx);
    layer_.forward(x, y, trace);
    if (options_.backward) {
      for (ParameterTensors& parameter : layer_.parameters().all()) backend_.poison(parameter.gradient);
      layer_.backward(x, dy, dx, trace);
      layer_.sync(trace);
    }
    y_.resize(host.size());
    dx_.resize(host.size());
    backend_.download(y_, y);
    if (options_.backward) backend_.download(dx_, dx);
    backend_.synchronize();
  }

  /// Every token has K different experts that exist. The same on every rank.
  bool is_lawful(const Selection& selection) const {
    const std::int64_t k = shape_.top_k;
    for (std::int64_t slot = 0; slot < std::ssize(selection.expert_of); ++slot) {
      const std::int32_t expert = selection.expert_of[slot];
      if (expert < 0 || expert >= shape_.experts) return false;
      for (std::int64_t other = slot / k * k; other < slot; ++other)
        if (selection.expert_of[other] == expert) return false;
    }
    return true;
  }

  void compare_tokens(const Oracle& oracle, const Selection& selection) {
    auto sample = spread(tokens_, options_.full ? tokens_ : kSampledTokens);
    for (std::int64_t& token : sample) token += first_;
    const auto expected = oracle.tokens(sample);
    Difference score, y, dscore, dx;
    double misrouted = 0;
    const std::int64_t h = shape_.hidden, k = shape_.top_k;
    for (std::size_t s = 0; s < sample.size(); ++s) {
      const std::int64_t token = sample[s], row = token - first_;
      misrouted = std::max(misrouted, misrouting(expected[s].logits, &selection.expert_of[token * k]));
      for (std::int64_t j = 0; j < k; ++j) {
        score.add(selection.score[token * k + j], expected[s].score[j]);
        dscore.add(selection.dscore[token * k + j], expected[s].dscore[j], expected[s].dscore_terms[j]);
      }
      for (std::int64_t i = 0; i < h; ++i) {
        y.add(y_[row * h + i], expected[s].y[i]);
        dx.add(dx_[row * h + i], expected[s].dx[i]);
      }
    }
    items_.front().error = misrouted;
    items_.front().bound = error_bound(shape_.dtype);
    add("score", score.relative());
    add("y", y.relative());
    if (!options_.backward) return;
    add("dscore", dscore.relative());
    add("dx", dx.relative());
  }

  /// By how much the best expert left out beats the worst one taken, relative to the largest logit.
  double misrouting(const std::vector<double>& logits, const std::int32_t* chosen) const {
    const std::int32_t* end = chosen + shape_.top_k;
    double worst_taken = std::numeric_limits<double>::infinity(), best_left = -worst_taken, largest = 0;
    for (std::int64_t e = 0; e < shape_.experts; ++e) {
      largest = std::max(largest, std::abs(logits[e]));
      if (std::find(chosen, end, e) != end)
        worst_taken = std::min(worst_taken, logits[e]);
      else
        best_left = std::max(best_left, logits[e]);
    }
    return largest > 0 ? std::max(0.0, (best_left - worst_taken) / largest) : 0;
  }

  void compare_gradients(const Oracle& oracle) {
    const auto dgate = oracle.dgate();
    Difference gate;
    const auto host = download(layer_.parameters().gradient(Parameter::gate), 0, shape_.hidden);
    for (std::size_t i = 0; i < dgate.size(); ++i) gate.add(host[i], dgate[i]);
    add("dgate", gate.relative());
    compare_experts(oracle);
  }

  void compare_experts(const Oracle& oracle) {
    const std::int64_t h = shape_.hidden, f = shape_.ffn, w1 = shape_.w1_cols();
    const std::int64_t first = shape_.first_expert(world_.rank());
    Parameters& parameters = layer_.parameters();
    Difference dw1, db1, dw2, db2;
    for (const std::int64_t e :
         spread(shape_.experts_per_rank(), options_.full ? shape_.experts : kSampledExperts)) {
      const auto units = spread(f, options_.full ? f : kSampledUnits);
      const auto expected = oracle.units(first + e, units);
      const auto w1_out = download(parameters.gradient(Parameter::w1), e * h, h);
      const auto w2_out = download(parameters.gradient(Parameter::w2), e * f, f);
      const auto b1_out =
          shape_.bias ? download(parameters.gradient(Parameter::b1), e, 1) : std::vector<float>();
      for (std::size_t u = 0; u < units.size(); ++u) {
        for (std::int64_t i = 0; i < h; ++i) dw2.add(w2_out[units[u] * h + i], expected[u].dw2[i]);
        for (std::int64_t c = 0; c < w1 / f; ++c) {
          for (std::int64_t i = 0; i < h; ++i)
            dw1.add(w1_out[i * w1 + c * f + units[u]], expected[u].dw1[c * h + i]);
          if (shape_.bias) db1.add(b1_out[c * f + units[u]], expected[u].db1[c]);
        }
      }
      if (!shape_.bias) continue;
      const auto b2_out = download(parameters.gradient(Parameter::b2), e, 1);
      const auto b2_expected = oracle.db2(first + e);
      for (std::int64_t i = 0; i < h; ++i) db2.add(b2_out[i], b2_expected[i]);
    }
    add("dw1", dw1.relative());
    add("dw2", dw2.relative());
    if (!shape_.bias) return;
    add("db1", db1.relative());
    add("db2", db2.relative());
  }

  std::vector<float> download(const TensorView& tensor, std::int64_t first, std::int64_t rows) {
    const TensorView view = tensor.slice(first, rows);
    std::vector<float> host(static_cast<std::size_t>(view.size()));
    backend_.download(host, view);
    return host;
  }

  void add(std::string name, double error, double bound) {
    items_.push_back({std::move(name), error, bound});
  }
  void add(std::string name, double error) { add(std::move(name), error, error_bound(shape_.dtype)); }

  Layer& layer_;
  Shape shape_;
  World& world_;
  Backend& backend_;
  VerifyOptions options_;
  std::int64_t first_, tokens_;
  std::vector<float> y_, dx_;
  std::vector<CheckItem> items_;
};

}  // namespace

std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend,
                              ThreadPool& pool, const VerifyOptions& options, Trace& trace) {
  Verification verification(layer, workload, world, backend, options, trace);
  verification.compare(workload, pool);
  return verification.items();
}

std::vector<CheckItem> verify(Layer& layer, const Workload& workload, World& world, Backend& backend,
                              ThreadPool& pool, const VerifyOptions& options) {
  NoTrace trace;
  return verify(layer, workload, world, backend, pool, options, trace);
}

void take_largest(World& world, std::vector<CheckItem>& items) {
  std::vector<double> errors;
  for (const CheckItem& item : items) errors.push_back(item.error);
  const auto all = world.gather(errors);
  for (std::size_t i = 0; i < all.size(); ++i) {
    double& error = items[i % items.size()].error;
    if (!(all[i] <= error)) error = std::isnan(error) ? error : all[i];
  }
}

double error_bound(DType dtype) {
  switch (dtype) {
    case DType::fp32:
      return 1e-5;  // 2^-24 per rounding, sums of up to 2^14 terms
    case DType::tf32:
      return 2e-3;  // 2^-11 per operand
    case DType::fp16:
      return 2e-3;  // 2^-11 per stored value
    case DType::bf16:
      return 1.5e-2;  // 2^-8 per stored value
  }
  return 0;
}

}  // namespace moebench
