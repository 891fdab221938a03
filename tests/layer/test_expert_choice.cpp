// SPDX-License-Identifier: Apache-2.0
// Experts that choose tokens: exact numbers of rows, varying numbers of experts per token.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "layer/case_on_one_rank.h"
#include "layer/cases.h"
#include "layer/gates/gate.h"

namespace moebench {
namespace {

GateOptions with_capacity(double factor, std::int64_t group) {
  return {.capacity = {.factor = factor, .policy = DropPolicy::probs, .group = group}};
}

struct Chosen {
  Chosen(const Shape& shape, double factor, std::int64_t group, const std::string& engine = "loop")
      : rig(shape, engine, {}, 1, 2, &find_gate("expert-choice"), with_capacity(factor, group)),
        items(rig.verify_all()) {}
  CaseOnOneRank rig;
  std::vector<CheckItem> items;
};

TEST(ExpertChoice, GivesEachExpertTheSameRowsOfAGroupAndTokensDifferentNumbers) {
  const Shape shape{.tokens = 48, .hidden = 24, .ffn = 40, .experts = 6, .top_k = 2};
  Chosen chosen(shape, 1.25, 24);
  const Routing& routing = chosen.rig.layer.routing();
  ASSERT_EQ(routing.expert_of.size(), 48u * 6u);
  std::set<std::int64_t> numbers;
  for (std::int64_t group = 0; group < 2; ++group)
    for (std::int32_t e = 0; e < 6; ++e)
      EXPECT_EQ(
          std::count(&routing.expert_of[group * 24 * 6], &routing.expert_of[group * 24 * 6] + 24 * 6, e), 10)
          << "ceil(24 x 2 / 6 x 1.25)";
  for (std::int64_t t = 0; t < 48; ++t)
    numbers.insert(6 - std::count(&routing.expert_of[t * 6], &routing.expert_of[t * 6] + 6, -1));
  EXPECT_GT(numbers.size(), 3u);
  EXPECT_EQ(chosen.rig.layer.load().rows, 120);
  const Drops drops = chosen.rig.layer.drops();
  EXPECT_EQ(drops.slots, 96);
  EXPECT_EQ(drops.dropped, 0) << "there are more rows than K of each token";
  EXPECT_LT(drops.kept_weight, drops.weight);
  EXPECT_NEAR(drops.weight, 48, 1e-4) << "a softmax over all experts";
}

/// The tokens that an expert takes have its largest scores, the lower token of equals.
TEST(ExpertChoice, TakesTheTokensWithTheLargestScores) {
  const Shape shape{.tokens = 40, .hidden = 16, .ffn = 8, .experts = 5, .top_k = 2};
  Chosen chosen(shape, 1, 40);
  const Routing& routing = chosen.rig.layer.routing();
  for (std::int64_t e = 0; e < 5; ++e) {
    std::vector<std::pair<float, std::int64_t>> order;
    for (std::int64_t t = 0; t < 40; ++t) order.emplace_back(-routing.score[t * 5 + e], t);
    std::sort(order.begin(), order.end());
    for (std::size_t i = 0; i < order.size(); ++i)
      EXPECT_EQ(routing.expert_of[order[i].second * 5 + e], i < 16 ? e : -1)
          << "expert " << e << ", place " << i;
  }
}

TEST(ExpertChoice, AgreesWithTheOracleInEveryEngineAndExtreme) {
  for (const std::string& engine : cpu_capabilities().engines())
    for (const auto& [top_k, factor, tokens] :
         {std::tuple{2, 1.0, 24}, {1, 1.0, 24}, {6, 1.0, 24}, {2, 9.0, 24}, {1, 0.25, 24}, {2, 1.0, 0}}) {
      SCOPED_TRACE(engine + ", k " + std::to_string(top_k) + ", factor " + std::to_string(factor));
      const Shape shape = with(kSmall, [&](Shape& s) { s.top_k = top_k, s.tokens = tokens, s.bias = true; });
      const Chosen chosen(shape, factor, 12, engine);
      EXPECT_EQ(chosen.items[1].name, "drops");
      for (const CheckItem& item : chosen.items)
        EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
    }
}

/// With room for all tokens every token has every expert: the layer of topk with K = E.
TEST(ExpertChoice, WithRoomForAllIsTopkOfAllExperts) {
  const Shape shape = with(kSmall, [](Shape& s) { s.tokens = 24; });
  Chosen chosen(shape, 3, 24);
  CaseOnOneRank all(with(shape, [](Shape& s) { s.top_k = s.experts; }), "loop");
  for (const CheckItem& item : all.verify_all()) EXPECT_TRUE(item.passed()) << item.name;
  EXPECT_EQ(chosen.rig.layer.load().rows, all.layer.load().rows);
  for (const Parameter parameter : {Parameter::gate, Parameter::w1, Parameter::w2}) {
    const TensorView a = chosen.rig.layer.parameters().gradient(parameter),
                     b = all.layer.parameters().gradient(parameter);
    for (std::int64_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a.as<float>()[i], b.as<float>()[i], 2e-4);
  }
}

/// Buffers of rows are as large as the rows, not as the places.
TEST(ExpertChoice, TakesMemoryForItsRowsNotForItsPlaces) {
  const Shape shape{.tokens = 64, .hidden = 512, .ffn = 8, .experts = 32, .top_k = 1};
  const CaseOnOneRank few(shape, "loop", {}, 1, 2, &find_gate("expert-choice"), with_capacity(1, 64)),
      topk(shape, "loop");
  EXPECT_LT(few.backend->memory().used_bytes(), topk.backend->memory().used_bytes() + 64 * 32 * 40);
}

TEST(ExpertChoice, RefusesWhatItIsNot) {
  const GateEntry& gate = find_gate("expert-choice");
  const Shape shape{.tokens = 8, .hidden = 1, .ffn = 1, .experts = 8, .top_k = 2};
  EXPECT_EQ(gate.why_not(shape, with_capacity(1, 8)), "");
  EXPECT_EQ(gate.why_not(shape, {}),
            "gate expert-choice needs a capacity: each expert takes so many tokens; valid: --capacity F");
  GateOptions options = with_capacity(1, 8);
  options.losses.aux = 1;
  EXPECT_EQ(gate.why_not(shape, options), "gate expert-choice is even by itself; valid: no --aux-loss");
  options.capacity.policy = DropPolicy::position;
  EXPECT_EQ(gate.why_not(shape, options),
            "gate expert-choice takes the tokens with the largest scores, not those of drop-policy position; "
            "valid: probs");
  EXPECT_EQ(gate.why_not(with(shape, [](Shape& s) { s.experts = 2048; }), with_capacity(1, 8)),
            "gate expert-choice has a place for each expert in every token: at most 1024 experts, not 2048");
}

}  // namespace
}  // namespace moebench
