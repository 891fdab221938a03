// SPDX-License-Identifier: Apache-2.0
// The suite over every Backend: all gates of the table, and slots that a gate has dropped.
#include <algorithm>
#include <cmath>

#include "contract/backend_contract.h"
#include "layer/gate_cases.h"
#include "layer/gates/capacity.h"
#include "layer/gates/choice.h"
#include "layer/gates/loss.h"

namespace moebench {
namespace {

float* first_of(std::span<float> array) { return array.data(); }

/// One token's scores and gradients of logits, found and as the gate and the losses define them.
void expect_scores(const GateDefinition& gate, const std::vector<double>& logits,
                   std::span<const std::int32_t> chosen, std::span<const float> dscore,
                   std::span<const float> score, const LossGradient& loss, std::span<const float> dlogits) {
  const auto scores = gate.scores(logits, chosen);
  const GateSlopes slopes = gate.slopes(logits, chosen, scores);
  double mean = 0;
  for (std::size_t j = 0; j < chosen.size(); ++j) {
    EXPECT_NEAR(score[j], scores[j], 1e-6 * std::max(1.0, scores[j]));
    mean += slopes.share[j] * dscore[j];
  }
  for (std::size_t e = 0; e < logits.size(); ++e) {
    const auto at = std::find(chosen.begin(), chosen.end(), static_cast<std::int32_t>(e));
    const double own = at != chosen.end() ? dscore[static_cast<std::size_t>(at - chosen.begin())] : 0.0;
    ASSERT_NEAR(dlogits[e], slopes.slope[e] * (own - mean) + loss.value[e], 2e-6);
  }
}

TEST_P(EveryBackend, GatesOfTheTableScoreAndDifferentiateAsTheirDefinitions) {
  for (const GateCase& gate : gate_cases())
    for (const auto& [experts, top_k] :
         {std::pair{1, 1}, {6, 1}, {6, 2}, {7, 7}, {40, 6}, {100, 40}, {256, 8}, {1024, 6}, {1200, 3}}) {
      SCOPED_TRACE(gate.name + ", " + std::to_string(experts) + " experts, k " + std::to_string(top_k));
      const std::int64_t tokens = 8, k = gate.gate->all_experts ? experts : top_k;
      const Shape shape{.tokens = tokens, .experts = experts, .top_k = top_k};
      if (!gate.knows(shape)) continue;
      const auto definition = gate.define(shape);
      std::vector<float> identity(experts * experts);
      for (int e = 0; e < experts; ++e) identity[e * experts + e] = 1;  // logits = x, dx = dlogits
      const Tensor x = random(tokens, experts, 1), weight = of(experts, experts, identity),
                   dx = of(tokens, experts, std::vector<float>(tokens * experts)),
                   dweight = poisoned(experts, experts);
      Array<float> logits(*backend_, tokens * experts), score(*backend_, tokens * k),
          dlogits(*backend_, tokens * experts);
      Array<std::int32_t> chosen(*backend_, tokens * k);
      Tensor bias(backend_->memory(), DType::fp32, 1, experts);
      backend_->fill(bias, gate.options.bias_field(), 0);
      GateRule rule = definition->rule();
      if (gate.options.biased()) rule.bias = bias.view().as<float>();
      constexpr std::int64_t kFirstToken = 17;
      const std::int64_t group = rule.balance.any() ? rule.balance.group : tokens;
      Array<float> offsets(*backend_, static_cast<std::size_t>(tokens * experts)),
          scratch(*backend_, static_cast<std::size_t>(balance_scratch(tokens, group, experts)));
      rule.balance.offsets = first_of(offsets), rule.balance.scratch = first_of(scratch);
      rule.noise.key = noise_key(gate.options.seed, 2), rule.noise.first = kFirstToken * experts;
      backend_->gate(GateForward{x, weight, logits, chosen, score, k, rule});
      std::vector<float> gradient(tokens * k);
      for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = 2 * uniform_at(4, i) - 1;
      const Array<float> dscore(*backend_, gradient);
      const LossFactors factors = loss_factors(gate.options.losses, shape);
      const GateLosses losses(*definition, shape, gate.options.losses);
      Array<std::int32_t> counts(*backend_, static_cast<std::size_t>(tokens * experts));
      backend_->gate(GateBackward{x, weight, chosen, score, dscore, dlogits, dx, dweight, k, rule, logits,
                                  factors, counts});
      const auto z = logits.host(), p = score.host(), dz = host(dx);
      const auto s = chosen.host();
      const auto given = host(x);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const std::vector<double> row(&z[t * experts], &z[t * experts] + experts);
        const std::span of_token(&s[t * k], static_cast<std::size_t>(k));
        std::vector<double> perturbed(&given[t * experts], &given[t * experts] + experts);
        definition->perturb(2, kFirstToken + t, perturbed);
        for (int e = 0; e < experts; ++e) EXPECT_NEAR(row[e], perturbed[e], 1e-6);
        const float* const of_group = &z[t / group * group * experts];
        const auto added = definition->offsets(std::vector<double>(of_group, of_group + group * experts));
        EXPECT_LT(misrouting(*definition, row, of_token, added), 1e-6);
        const std::span dscore_of_token(&gradient[t * k], of_token.size());
        std::vector<std::int32_t> of_token_counts;
        if (factors.aux > 0) of_token_counts = losses.counts(of_token);
        expect_scores(*definition, row, of_token, dscore_of_token, {&p[t * k], of_token.size()},
                      losses.gradient(row, of_token_counts), {&dz[t * experts], row.size()});
      }
    }
}

/// Choices of different experts, some slots dropped before; scores of which many are equal.
TEST_P(EveryBackend, LimitKeepsTheSlotsOfTheDefinition) {
  struct Some {
    std::int64_t tokens, experts, k, group;
    double factor;
  };
  for (const Some& some : {Some{6, 1, 1, 3, 0.5},
                           {40, 5, 3, 8, 0.7},
                           {4096, 8, 2, 4096, 1.0},
                           {3000, 64, 6, 1000, 0.9},
                           {700, 1200, 2, 70, 1.0},
                           {96, 4, 4, 32, 0.5},
                           {64, 100, 40, 64, 0.25},
                           {5, 3, 2, 5, 9.0}})
    for (const DropPolicy policy :
         {DropPolicy::position, DropPolicy::probs, DropPolicy::choice, DropPolicy::priority}) {
      const auto& [tokens, experts, k, group, factor] = some;
      SCOPED_TRACE(std::to_string(tokens) + " tokens, " + std::to_string(experts) + " experts, " +
                   std::string(name_of(policy)));
      const Shape shape{.tokens = tokens, .experts = experts, .top_k = k};
      const Capacity capacity{.factor = factor, .policy = policy, .group = group};
      const DropRule rule{.capacity = capacity}, by_chance{.capacity = capacity, .second_by_chance = true};
      std::vector<std::int32_t> choice(tokens * k);
      std::vector<float> scores(tokens * k);
      for (std::int64_t slot = 0; slot < tokens * k; ++slot) {
        const auto first =
            static_cast<std::int64_t>(mix(9, slot / k) % 4 == 0 ? 0 : mix(9, slot / k) % experts);
        choice[slot] = mix(8, slot) % 10 == 0 ? -1 : static_cast<std::int32_t>((first + slot % k) % experts);
        scores[slot] = static_cast<float>(mix(7, slot) % 50) / 100;
      }
      const auto expected = limited(rule, shape, 0, choice, scores);
      const Array<std::int32_t> from(*backend_, choice);
      const Array<float> score(*backend_, scores);
      Array<std::int32_t> apart(*backend_, std::vector<std::int32_t>(choice.size(), 77)),
          in_place(*backend_, choice),
          scratch(*backend_, static_cast<std::size_t>(capacity_scratch(capacity, shape, tokens)));
      LimitRows args{from, apart, score, scratch, k, experts, group, capacity.rows_of(shape), policy};
      backend_->limit(args);
      EXPECT_TRUE(apart.host() == expected);
      args.from = args.to = in_place;
      backend_->limit(args);
      EXPECT_TRUE(in_place.host() == expected);
      args.from = from, args.to = apart;
      args.second_by_chance = true, args.chance_key = noise_key(by_chance.seed, 3);
      backend_->limit(args);
      if (k > 1) {
        EXPECT_TRUE(apart.host() == limited(by_chance, shape, 3, choice, scores));
      }
    }
}

/// A place for each expert in every token, in order; many scores are equal.
TEST_P(EveryBackend, LimitByExpertKeepsTheSlotsOfTheDefinition) {
  struct Some {
    std::int64_t tokens, experts, k, group;
    double factor;
  };
  for (const Some& some : {Some{4, 1, 1, 2, 0.5},
                           {48, 5, 2, 16, 1},
                           {4096, 8, 2, 2048, 1.25},
                           {700, 64, 6, 700, 1},
                           {96, 300, 4, 32, 1},
                           {64, 4, 4, 64, 1}})
    for (const DropPolicy policy : {DropPolicy::position, DropPolicy::probs}) {
      const auto& [tokens, experts, k, group, factor] = some;
      SCOPED_TRACE(std::to_string(tokens) + " tokens, " + std::to_string(experts) + " experts");
      const Shape shape{.tokens = tokens, .experts = experts, .top_k = k, .slots = experts};
      const DropRule rule{.capacity = {.factor = factor, .policy = policy, .group = group}};
      std::vector<std::int32_t> choice(tokens * experts);
      std::vector<float> scores(choice.size());
      for (std::int64_t slot = 0; slot < std::ssize(choice); ++slot) {
        choice[slot] = mix(8, slot) % 10 == 0 ? -1 : static_cast<std::int32_t>(slot % experts);
        scores[slot] = static_cast<float>(mix(7, slot) % 50) / 100;
      }
      const Array<std::int32_t> from(*backend_, choice);
      const Array<float> score(*backend_, scores);
      Array<std::int32_t> to(*backend_, std::vector<std::int32_t>(choice.size(), 77)),
          scratch(*backend_, static_cast<std::size_t>(capacity_scratch(rule.capacity, shape, tokens)));
      backend_->limit({.from = from,
                       .to = to,
                       .score = score,
                       .scratch = scratch,
                       .top_k = experts,
                       .experts = experts,
                       .group = group,
                       .rows = rule.capacity.rows_of(shape),
                       .policy = policy,
                       .by_expert = true});
      EXPECT_TRUE(to.host() == limited(rule, shape, 0, choice, scores));
    }
}

/// e^1000 is no number.
TEST_P(EveryBackend, ScoresOfAllExpertsDoNotOverflow) {
  const Tensor x = of(2, 3, {-1000, 1000, 999, -2000, -1000, -1000}),
               identity = of(3, 3, {1, 0, 0, 0, 1, 0, 0, 0, 1});
  Array<float> logits(*backend_, 6), score(*backend_, 6);
  Array<std::int32_t> chosen(*backend_, 6);
  backend_->gate(GateForward{x, identity, logits, chosen, score, 3, {.all_experts = true}});
  EXPECT_EQ(chosen.host(), (std::vector<std::int32_t>{0, 1, 2, 0, 1, 2}));
  const float expected[] = {0, 0.7310586f, 0.2689414f, 0, 0.5f, 0.5f};
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(score.host()[static_cast<std::size_t>(i)], expected[i], 1e-6);
}

TEST_P(EveryBackend, PlanGivesDroppedSlotsNoRow) {
  const std::vector<std::int32_t> choice{2, -1, 2, 3, 0, -1, 2};
  const Array<std::int32_t> expert_of(*backend_, choice);
  Array<std::int32_t> counts(*backend_, 4), offsets(*backend_, 5), row_of(*backend_, 7),
      slot_of(*backend_, 7);
  backend_->plan({expert_of, RowOrder::by_expert, counts, offsets, row_of, slot_of});
  EXPECT_EQ(counts.host(), (std::vector<std::int32_t>{1, 0, 3, 1}));
  EXPECT_EQ(offsets.host(), (std::vector<std::int32_t>{0, 1, 1, 4, 5}));
  EXPECT_EQ(row_of.host(), (std::vector<std::int32_t>{1, -1, 2, 4, 0, -1, 3}));
  const auto slots = slot_of.host();
  EXPECT_EQ(std::vector<std::int32_t>(slots.begin(), slots.begin() + 5),
            (std::vector<std::int32_t>{4, 0, 2, 6, 3}));
  backend_->plan({expert_of, RowOrder::by_token, counts, offsets, row_of, slot_of});
  EXPECT_EQ(row_of.host(), (std::vector<std::int32_t>{0, -1, 2, 3, 4, -1, 6}));
  EXPECT_EQ(counts.host(), (std::vector<std::int32_t>{1, 0, 3, 1}));
}

TEST_P(EveryBackend, PlanHoldsForManySlotsOfWhichSomeAreDropped) {
  for (const auto& [slots, experts] :
       {std::pair{1, 1}, {100000, 3}, {4099, 1000}, {20000, 512}, {3000, 64}}) {
    std::vector<std::int32_t> choice(slots), order;
    for (int i = 0; i < slots; ++i)
      choice[i] = mix(8, i) % 4 == 0 ? -1 : static_cast<std::int32_t>(mix(7, i) % experts);
    for (int i = 0; i < slots; ++i)
      if (choice[i] >= 0) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return choice[a] < choice[b]; });
    const Array<std::int32_t> expert_of(*backend_, choice);
    Array<std::int32_t> counts(*backend_, experts), offsets(*backend_, experts + 1), row_of(*backend_, slots),
        slot_of(*backend_, slots);
    backend_->plan({expert_of, RowOrder::by_expert, counts, offsets, row_of, slot_of});
    const auto rows = row_of.host(), found = slot_of.host();
    EXPECT_EQ(offsets.host().back(), std::ssize(order));
    EXPECT_TRUE(std::equal(order.begin(), order.end(), found.begin())) << slots << " slots";
    for (int i = 0; i < slots; ++i)
      ASSERT_EQ(rows[i], choice[i] < 0 ? -1 : std::find(order.begin(), order.end(), i) - order.begin())
          << "slot " << i;
  }
}

/// Token 0 has no row, token 1 one, token 2 two; row 3 is no token's. There are fewer rows than slots, as of expert-choice.
TEST_P(EveryBackend, PackAndCombineLeaveDroppedSlotsOut) {
  for (const std::int64_t hidden : {1, 24, 129}) {
    const Array<std::int32_t> row_of(*backend_, std::vector<std::int32_t>{-1, -1, -1, 1, 2, 0});
    const std::vector<float> weights{5, 6, 7, 2, 3, 4};
    const Array<float> score(*backend_, weights);
    const Tensor x = random(3, hidden, 1), rows = poisoned(4, hidden), dx = poisoned(3, hidden);
    backend_->pack(PackForward{x, row_of, rows, 2});
    const auto in = host(x), out = host(rows);
    const int token_of[] = {2, 1, 2};
    for (int r = 0; r < 4; ++r)
      for (int i = 0; i < hidden; ++i) {
        if (r < 3) {
          ASSERT_EQ(out[r * hidden + i], in[token_of[r] * hidden + i]);
        } else {
          ASSERT_TRUE(std::isnan(out[r * hidden + i])) << "row " << r << " was written";
        }
      }
    backend_->pack(PackBackward{rows, row_of, dx, 2});
    const auto gradient = host(dx);
    for (int t = 0; t < 3; ++t)
      for (int i = 0; i < hidden; ++i)
        ASSERT_EQ(gradient[t * hidden + i], static_cast<float>(t) * in[t * hidden + i]);
    const Tensor y = poisoned(3, hidden), drows = poisoned(4, hidden), without = poisoned(4, hidden);
    backend_->combine(CombineForward{rows, row_of, score, y, 2});
    const auto sums = host(y);
    for (int i = 0; i < hidden; ++i) {
      ASSERT_EQ(sums[i], 0);
      ASSERT_EQ(sums[hidden + i], 2 * in[hidden + i]);
      ASSERT_NEAR(sums[2 * hidden + i], 7 * in[2 * hidden + i], 1e-5);
    }
    const Tensor dy = random(3, hidden, 5);
    Array<float> dscore(*backend_, 6);
    backend_->combine(CombineBackward{dy, rows, row_of, score, drows, dscore, 2});
    backend_->combine(CombineBackward{dy, {}, row_of, score, without, {}, 2});
    const auto scores = dscore.host(), given = host(dy), scaled = host(drows), scaled_alone = host(without);
    for (const int slot : {0, 1, 2}) EXPECT_EQ(scores[slot], 0);
    double product = 0;
    for (int i = 0; i < hidden; ++i) product += double{given[hidden + i]} * in[hidden + i];
    EXPECT_NEAR(scores[3], product, 1e-4);
    for (int i = 0; i < hidden; ++i) {
      ASSERT_EQ(scaled[hidden + i], 2 * given[hidden + i]);
      ASSERT_EQ(scaled[i], 4 * given[2 * hidden + i]);
      ASSERT_EQ(scaled_alone[i], scaled[i]);
      ASSERT_TRUE(std::isnan(scaled[3 * hidden + i]) && std::isnan(scaled_alone[3 * hidden + i]));
    }
  }
}

}  // namespace
}  // namespace moebench
