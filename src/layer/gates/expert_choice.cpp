// SPDX-License-Identifier: Apache-2.0
// Gate `expert-choice`: experts choose tokens. s = softmax(z) over all experts; of each group of N tokens (--gate-group) every
// expert takes the C = ⌈N·K/E·F⌉ with the largest s_e, the lower token of equals (--capacity F, 1 unless said), and p = s.
// K is how many experts a token has on average: it may have none, and it may have all.
// Source: Zhou et al. (arXiv 2202.09368), section 3.2, whose capacity factor is K·F; flaxformer's ExpertsChooseMaskedRouter.
// An expert looks at later tokens of the group: not for the causal training of a language model.
//
// A token has a place for each expert, in their order, and a capacity with policy `probs` empties all but those taken: plan, pack
// and combine know empty places as dropped slots. Only the tables are as wide as E, 24·T·E bytes beside the logits; rows are
// as many as there are.
// Cost: that of topk with S = T·E places, and the logits, which forward keeps (4·T·E bytes).
#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "layer/gates/entries.h"

namespace moebench {
namespace {

class ExpertChoiceDefinition final : public GateDefinition {
 public:
  GateRule rule() const override { return {.score = GateScore::softmax_of_chosen, .all_experts = true}; }

  std::vector<double> scores(std::span<const double> logits,
                             std::span<const std::int32_t> chosen) const override {
    const auto all = spread(logits).scores;
    std::vector<double> scores;
    for (const std::int32_t e : chosen) scores.push_back(all[e]);
    return scores;
  }

  /// The softmax's Jacobian is diag(p) − p·pᵀ; dscore is 0 where an expert did not take the token.
  GateSlopes slopes(std::span<const double>, std::span<const std::int32_t> chosen,
                    std::span<const double> scores) const override {
    GateSlopes slopes{{scores.begin(), scores.end()}, std::vector<double>(scores.size())};
    for (std::size_t j = 0; j < chosen.size(); ++j) slopes.slope[chosen[j]] = scores[j];
    return slopes;
  }
};

std::unique_ptr<GateDefinition> define(const Shape&, const GateOptions&) {
  return std::make_unique<ExpertChoiceDefinition>();
}

StageCost cost(const Shape& shape, const RankLoad& load, Pass pass) {
  return pass == Pass::forward ? gate_cost_with_logits(shape, load, pass) : gate_cost(shape, load, pass);
}

std::string why_not(const Shape& shape, const GateOptions& options) {
  constexpr std::int64_t kMostExperts = 1024;
  if (shape.experts > kMostExperts)
    return cat("gate expert-choice has a place for each expert in every token: at most ", kMostExperts,
               " experts, not ", shape.experts);
  if (!options.capacity.limits())
    return "gate expert-choice needs a capacity: each expert takes so many tokens; valid: --capacity F";
  if (options.capacity.policy != DropPolicy::probs)
    return cat("gate expert-choice takes the tokens with the largest scores, not those of drop-policy ",
               name_of(options.capacity.policy), "; valid: probs");
  if (options.losses.aux > 0) return "gate expert-choice is even by itself; valid: no --aux-loss";
  return why_not_plain(shape, options);
}

}  // namespace

constinit const GateEntry kExpertChoiceGate{.name = "expert-choice",
                                            .help = "experts take the tokens with the largest scores",
                                            .define = define,
                                            .make = make_rule_gate,
                                            .cost = cost,
                                            .why_not = why_not,
                                            .capacity = "1",
                                            .drop_policy = "probs",
                                            .ignores_input = true,
                                            .all_experts = true};

}  // namespace moebench
