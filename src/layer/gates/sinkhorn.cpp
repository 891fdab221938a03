// SPDX-License-Identifier: Apache-2.0
// Gate `sinkhorn`: S = the K largest of z_te + ln d_e, with d from Sinkhorn's algorithm over a group of N tokens (--gate-group), and
// p = softmax(z)_S over all experts, not renormalised; with K = 1 p = σ(z). No gradient passes the choice.
// d starts at 1. Each of I iterations (--sinkhorn-iterations): r_t = 1 / (N · Σ_e d_e·c_te), d_e = 1 / (E · (Σ_t r_t·c_te + ε)), with
// c = exp(z) and ε = 1e-8. The balanced matrix is r_t·c_te·d_e; r_t does not change the order of a token's experts.
// Source: Megatron-LM, sinkhorn() and sinkhorn_load_balancing (--moe-router-load-balancing-type sinkhorn). There the iterations end
// once the mean change of d is below 1e-4, which takes the host a look at it each time; here their number is fixed. Its
// ε in r is left out: c is taken over the token's largest, so that its sum is never 0.
// Cost: that of softmax-topk; what the iterations sum stays inside.
#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

class SinkhornDefinition final : public GateDefinition {
 public:
  SinkhornDefinition(const Shape& shape, const GateOptions& options)
      : scored_((shape.top_k == 1 ? kSigmoidGate : kSoftmaxTopkGate).define(shape, {})),
        experts_(shape.experts),
        rule_(scored_->rule()) {
    rule_.balance = {.iterations = options.sinkhorn_iterations, .group = options.capacity.group_of(shape)};
  }

  GateRule rule() const override { return rule_; }

  std::vector<double> offsets(std::span<const double> logits) const override {
    constexpr double kEpsilon = 1e-8;
    const auto e = static_cast<std::size_t>(experts_), tokens = logits.size() / e;
    std::vector<double> weights(logits.begin(), logits.end()), factors(e, 1.0);
    for (std::size_t t = 0; t < tokens; ++t) {
      const auto row = weights.begin() + static_cast<std::ptrdiff_t>(t * e);
      const double largest = *std::max_element(row, row + experts_);
      std::transform(row, row + experts_, row, [&](double z) { return std::exp(z - largest); });
    }
    for (int i = 0; i < rule_.balance.iterations; ++i) {
      std::vector<double> columns(e);
      for (std::size_t t = 0; t < tokens; ++t) {
        double sum = 0;
        for (std::size_t j = 0; j < e; ++j) sum += factors[j] * weights[t * e + j];
        for (std::size_t j = 0; j < e; ++j)
          columns[j] += weights[t * e + j] / (sum * static_cast<double>(tokens));
      }
      for (std::size_t j = 0; j < e; ++j)
        factors[j] = 1 / (static_cast<double>(experts_) * (columns[j] + kEpsilon));
    }
    for (double& factor : factors) factor = std::log(factor);
    return factors;
  }

  std::vector<double> scores(std::span<const double> logits,
                             std::span<const std::int32_t> chosen) const override {
    return scored_->scores(logits, chosen);
  }
  GateSlopes slopes(std::span<const double> logits, std::span<const std::int32_t> chosen,
                    std::span<const double> scores) const override {
    return scored_->slopes(logits, chosen, scores);
  }

 private:
  std::unique_ptr<GateDefinition> scored_;  ///< by the logits as they are
  std::int64_t experts_;
  GateRule rule_;
};

std::unique_ptr<GateDefinition> define(const Shape& shape, const GateOptions& options) {
  return std::make_unique<SinkhornDefinition>(shape, options);
}

std::string why_not(const Shape& shape, const GateOptions& options) {
  constexpr std::int64_t kMostExperts = 1024;  // of a warp's registers
  if (shape.experts > kMostExperts)
    return cat("gate sinkhorn is for at most ", kMostExperts, " experts, not ", shape.experts);
  if (options.losses.aux > 0) return "gate sinkhorn balances by itself; valid: no --aux-loss";
  if (std::string why = why_cut("gate-group", options.capacity.group_of(shape), shape); !why.empty())
    return why;
  GateOptions others = options;
  others.sinkhorn_iterations = kSinkhornIterations;
  return why_not_plain(shape, others);
}

}  // namespace

constinit const GateEntry kSinkhornGate{
    .name = "sinkhorn",
    .help = "the k largest after Sinkhorn's balancing of a group, by plain scores",
    .define = define,
    .make = make_rule_gate,
    .cost = gate_cost_with_logits,
    .why_not = why_not,
    .balances = true};

}  // namespace moebench
