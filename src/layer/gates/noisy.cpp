// SPDX-License-Identifier: Apache-2.0
// Gates that put normal noise on their logits and then are `topk`. The noise is drawn by (seed, step, token, expert); the
// gradient passes it as if it were not there.
// `noisy-topk`: z + ln 2 · N(0, 1). Source: Shazeer et al. (arXiv 1701.06538), equations 3 to 5, whose noise has the
// deviation softplus(x·Wn): as at the start of training, where Wn = 0. Wn itself and its gradient are not here.
// `forced`: N(0, 1) in the place of z, so that every expert is as likely. Source: Megatron-LM,
// --moe-router-force-load-balancing. Its load is that of multinomial noise, not exactly even.
// Cost: that of topk, and the logits, which the noise reads and writes (8·T·E bytes).
#include "base/normal.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

/// topk, of other logits.
class NoisyDefinition final : public GateDefinition {
 public:
  NoisyDefinition(const Shape& shape, const GateOptions& options, float deviation, bool replaces)
      : topk_(kTopkGate.define(shape, options)), experts_(shape.experts), seed_(options.seed) {
    rule_ = topk_->rule();
    rule_.noise = {.deviation = deviation, .replaces = replaces};
  }

  GateRule rule() const override { return rule_; }

  void perturb(int step, std::int64_t token, std::span<double> logits) const override {
    const std::uint64_t key = noise_key(seed_, step);
    for (std::int64_t e = 0; e < experts_; ++e) {
      const double drawn =
          double{rule_.noise.deviation} * normal_at(key, static_cast<std::uint64_t>(token * experts_ + e));
      logits[e] = rule_.noise.replaces ? drawn : logits[e] + drawn;
    }
  }
  std::vector<double> scores(std::span<const double> logits,
                             std::span<const std::int32_t> chosen) const override {
    return topk_->scores(logits, chosen);
  }
  GateSlopes slopes(std::span<const double> logits, std::span<const std::int32_t> chosen,
                    std::span<const double> scores) const override {
    return topk_->slopes(logits, chosen, scores);
  }

 private:
  std::unique_ptr<GateDefinition> topk_;
  std::int64_t experts_;
  std::uint64_t seed_;
  GateRule rule_;
};

std::unique_ptr<GateDefinition> define_noisy(const Shape& shape, const GateOptions& options) {
  constexpr float kSoftplusOfZero = 0.6931472f;
  return std::make_unique<NoisyDefinition>(shape, options, kSoftplusOfZero, false);
}

std::unique_ptr<GateDefinition> define_forced(const Shape& shape, const GateOptions& options) {
  return std::make_unique<NoisyDefinition>(shape, options, 1.0f, true);
}

StageCost cost(const Shape& shape, const RankLoad& load, Pass pass) {
  StageCost cost = gate_cost(shape, load, pass);
  if (pass == Pass::forward)
    cost.bytes += 8.0 * static_cast<double>(load.tokens) * static_cast<double>(shape.experts);
  return cost;
}

}  // namespace

constinit const GateEntry kNoisyTopkGate{.name = "noisy-topk",
                                         .help = "topk of logits with normal noise, as Shazeer's starts",
                                         .define = define_noisy,
                                         .make = make_rule_gate,
                                         .cost = cost,
                                         .why_not = why_not_plain};

constinit const GateEntry kForcedGate{.name = "forced",
                                      .help = "topk of noise alone: Megatron-LM's forced load balancing",
                                      .define = define_forced,
                                      .make = make_rule_gate,
                                      .cost = cost,
                                      .why_not = why_not_plain,
                                      .ignores_input = true};

}  // namespace moebench
