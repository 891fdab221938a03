// SPDX-License-Identifier: Apache-2.0
// Capacity: which slots stay, by hand; and layers whose experts take so many rows and no more.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "layer/case_on_one_rank.h"
#include "layer/cases.h"
#include "layer/gate_cases.h"
#include "layer/gates/capacity.h"

namespace moebench {
namespace {

constexpr DropPolicy kPolicies[] = {DropPolicy::position, DropPolicy::probs, DropPolicy::choice,
                                    DropPolicy::priority};

/// Four tokens of two choices each, two experts, two rows each: tokens 0 and 3 choose expert 1 first.
std::vector<std::int32_t> kept(DropPolicy policy, std::vector<float> score) {
  const std::vector<std::int32_t> chosen{1, 0, 0, 1, 0, 1, 1, 0};
  return limited({.capacity = {.factor = 0.5, .policy = policy}}, {.tokens = 4, .experts = 2, .top_k = 2}, 0,
                 chosen, score);
}

const std::vector<float> kScores{0.6f, 0.4f, 0.9f, 0.1f, 0.5f, 0.5f, 0.8f, 0.2f};

TEST(Limited, ByPositionKeepsTheLowestTokens) {
  EXPECT_EQ(kept(DropPolicy::position, kScores), (std::vector<std::int32_t>{1, 0, 0, 1, -1, -1, -1, -1}));
}

TEST(Limited, ByProbsKeepsTheLargestScores) {
  EXPECT_EQ(kept(DropPolicy::probs, kScores), (std::vector<std::int32_t>{1, -1, 0, -1, 0, -1, 1, -1}));
}

TEST(Limited, ByChoiceKeepsFirstChoicesBeforeSecond) {
  EXPECT_EQ(kept(DropPolicy::choice, kScores), (std::vector<std::int32_t>{1, -1, 0, -1, 0, -1, 1, -1}));
  const std::vector<std::int32_t> chosen{0, 1, 0, 1, 0, 1};
  EXPECT_EQ(limited({.capacity = {.factor = 0.6, .policy = DropPolicy::choice}},
                    {.tokens = 3, .experts = 2, .top_k = 2}, 0, chosen, std::vector<float>(6, 0.5f)),
            (std::vector<std::int32_t>{0, 1, 0, 1, -1, -1}));
}

TEST(Limited, ByPriorityServesTheSurestTokensFirst) {
  const std::vector<std::int32_t> chosen{0, 1, 0, 1, 0, 1};
  const std::vector<float> score{0.5f, 0.5f, 0.6f, 0.4f, 0.7f, 0.3f};
  EXPECT_EQ(limited({.capacity = {.factor = 0.6, .policy = DropPolicy::priority}},
                    {.tokens = 3, .experts = 2, .top_k = 2}, 0, chosen, score),
            (std::vector<std::int32_t>{-1, -1, 0, 1, 0, 1}));
}

TEST(Limited, GivesEqualsToTheLowerToken) {
  const std::vector<float> equal(8, 0.5f);
  EXPECT_EQ(kept(DropPolicy::probs, equal), kept(DropPolicy::position, equal));
  EXPECT_EQ(kept(DropPolicy::priority, equal), kept(DropPolicy::choice, equal));
}

TEST(Limited, CountsEachGroupByItself) {
  const std::vector<std::int32_t> chosen{0, 0, 0, 0, 0, 1};
  EXPECT_EQ(limited({.capacity = {.factor = 1, .group = 2}}, {.tokens = 6, .experts = 2, .top_k = 1}, 0,
                    chosen, std::vector<float>(6, 1.0f)),
            (std::vector<std::int32_t>{0, -1, 0, -1, 0, 1}));
}

/// Tokens that a group of six divides.
Shape in_groups(Shape shape) {
  shape.tokens = shape.tokens / 6 * 6;
  return shape;
}

class EveryGateLimited : public testing::TestWithParam<GateCase> {
 protected:
  /// A layer of this gate and this capacity; none if the gate is not for such a shape.
  static std::unique_ptr<CaseOnOneRank> make(const Shape& some, const std::string& engine,
                                             const RoutingDistribution& routing, const Capacity& capacity) {
    const Shape shape = in_groups(GetParam().fitted(some));
    if (!GetParam().knows(shape)) return nullptr;
    GateOptions options = GetParam().options;
    options.capacity = capacity;
    if (!GetParam().gate->why_not(shape, options).empty()) return nullptr;
    return std::make_unique<CaseOnOneRank>(shape, engine, routing, 1, 2, GetParam().gate, options);
  }
};

TEST_P(EveryGateLimited, AgreesWithTheOracleInEveryEngineAndPolicy) {
  for (const std::string& engine : GetParam().gate == &default_gate() ? GetParam().engines(cpu_capabilities())
                                                                      : std::vector<std::string>{"loop"})
    for (const NamedCase& named : kLayerCases)
      for (const DropPolicy policy : kPolicies) {
        if (named.shape.hidden > 100) continue;
        SCOPED_TRACE(cat(engine, ", ", named.name, ", ", name_of(policy)));
        const auto rig =
            make(named.shape, engine, named.routing, {.factor = 0.75, .policy = policy, .group = 6});
        if (!rig) continue;
        const auto items = rig->verify_all();
        EXPECT_EQ(items[1].name, "drops");
        for (const CheckItem& item : items)
          EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
      }
}

TEST_P(EveryGateLimited, AgreesWithASecondWayInEveryRow) {
  const auto rig = make(kSmall, "loop", {}, {.factor = 0.8});
  if (!rig) GTEST_SKIP() << "not for this shape";
  for (const CheckItem& item :
       verify(rig->layer, rig->workload, *rig->world, *rig->backend, rig->pool, {.second_way_to = "loop"}))
    EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
}

TEST_P(EveryGateLimited, TakesNoMoreRowsOfAGroupThanItsCapacity) {
  const Capacity capacity{.factor = 0.75, .group = 12};
  const auto rig = make(kSmall, "loop", parse_routing("zipf:1"), capacity);
  if (!rig) GTEST_SKIP() << "not for this shape";
  rig->verify_all();
  const Routing& routing = rig->layer.routing();
  const Shape& shape = rig->workload.shape();
  const std::int64_t k = shape.top_k, rows = capacity.rows_of(shape);
  EXPECT_EQ(rows, k == 1 ? 2 : 3);
  for (std::int64_t group = 0; group < 3; ++group)
    for (int e = 0; e < shape.experts; ++e)
      EXPECT_LE(
          std::count(&routing.expert_of[group * 12 * k], &routing.expert_of[group * 12 * k] + 12 * k, e),
          rows);
  const Drops drops = rig->layer.drops();
  EXPECT_GT(drops.dropped, 0);
  EXPECT_EQ(rig->layer.load().dropped, drops.dropped);
  EXPECT_EQ(rig->layer.load().rows, 36 * k - drops.dropped);
}

std::vector<GateCase> that_drop_by_rule() {
  auto cases = gate_cases();
  std::erase_if(cases, [](const GateCase& gate) { return gate.gate == &kDroppingGate; });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Gates, EveryGateLimited, testing::ValuesIn(that_drop_by_rule()),
                         [](const auto& test) { return test.param.name; });

/// 2·g of the second choice against a number drawn per token and step.
TEST(SecondChoices, AreTakenByChance) {
  const Shape shape{.tokens = 20000, .experts = 4, .top_k = 2};
  std::vector<std::int32_t> chosen(40000);
  std::vector<float> score(40000);
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    chosen[slot] = static_cast<std::int32_t>(slot % 2);
    score[slot] = slot % 2 == 0 ? 0.85f : 0.15f;
  }
  const DropRule rule{.second_by_chance = true};
  const auto taken = limited(rule, shape, 0, chosen, score), next = limited(rule, shape, 1, chosen, score);
  EXPECT_EQ(std::count(taken.begin(), taken.end(), 0), 20000) << "first choices are always taken";
  EXPECT_NEAR(std::count(taken.begin(), taken.end(), 1) / 20000.0, 0.3, 4 * std::sqrt(0.3 * 0.7 / 20000));
  EXPECT_NE(taken, next);
  EXPECT_EQ(taken, limited(rule, shape, 0, chosen, score));
  std::fill(score.begin(), score.end(), 0.5f);
  EXPECT_EQ(limited(rule, shape, 0, chosen, score), chosen) << "as likely as the first: always";
}

/// Those that chance leaves out need no room.
TEST(SecondChoices, ThatAreNotTakenLeaveTheirRoom) {
  const Shape shape{.tokens = 4, .experts = 2, .top_k = 2};
  const std::vector<std::int32_t> chosen{0, 1, 0, 1, 0, 1, 0, 1};
  const std::vector<float> score{1, 0, 0.5f, 0.5f, 1, 0, 0.5f, 0.5f};
  const DropRule rule{.capacity = {.factor = 0.5, .policy = DropPolicy::choice}, .second_by_chance = true};
  EXPECT_EQ(limited(rule, shape, 0, chosen, score), (std::vector<std::int32_t>{0, -1, 0, 1, -1, -1, -1, 1}));
}

TEST(LimitedLayer, WithRoomForAllIsTheLayerWithoutACapacity) {
  CaseOnOneRank with_room(in_groups(kSmall), "loop", {}, 1, 2, &default_gate(),
                          {.capacity = {.factor = 100}}),
      without(in_groups(kSmall), "loop");
  for (CaseOnOneRank* rig : {&with_room, &without})
    for (const CheckItem& item : rig->verify_all()) EXPECT_TRUE(item.passed()) << item.name;
  EXPECT_EQ(with_room.layer.drops().dropped, 0);
  const auto& a = with_room.layer.parameters().gradient(Parameter::w1);
  const auto& b = without.layer.parameters().gradient(Parameter::w1);
  EXPECT_TRUE(std::equal(a.as<float>(), a.as<float>() + a.size(), b.as<float>()));
}

/// A wrong slot dropped, and the right one kept in its place, is found though every row is what its slots say.
TEST(LimitedLayer, ThatDropsAnotherSlotIsFound) {
  struct Swapper : Trace {
    Routing const* routing;
    std::int64_t wrong = -1;
    void begin(Stage stage, Pass pass) override {
      if (stage != Stage::plan || pass != Pass::forward) return;
      const auto& to = routing->expert_of;
      const auto dropped = std::find(to.begin(), to.end(), -1) - to.begin();
      const std::int32_t expert = routing->chosen[dropped];
      wrong = std::find(to.begin(), to.end(), expert) - to.begin();
      std::swap(to[wrong], to[dropped]);
    }
    void end(Stage, Pass) override {}
  };
  CaseOnOneRank rig(in_groups(kSmall), "loop", {}, 1, 2, &default_gate(), {.capacity = {.factor = 0.75}});
  Swapper swapper;
  swapper.routing = &rig.layer.routing();
  const auto items =
      verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool, {.full = true}, swapper);
  for (const CheckItem& item : items) EXPECT_EQ(item.passed(), item.name != "drops") << item.name;
  EXPECT_EQ(items[1].error, 2);
  EXPECT_EQ(items[1].where, cat("token ", swapper.wrong / 2, ", choice ", swapper.wrong % 2));
}

}  // namespace
}  // namespace moebench
