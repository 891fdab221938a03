// SPDX-License-Identifier: Apache-2.0
// Every gate of the table, and one that drops, through the layer; and their definitions by finite differences.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "layer/case_on_one_rank.h"
#include "layer/cases.h"
#include "layer/gate_cases.h"
#include "layer/gates/choice.h"

namespace moebench {
namespace {

using Values = std::vector<double>;

class EveryGate : public testing::TestWithParam<GateCase> {};

TEST_P(EveryGate, IsDifferentiatedAsFiniteDifferencesSay) {
  for (const auto& [experts, top_k] : {std::pair{1, 1}, {7, 1}, {6, 2}, {8, 4}, {7, 3}, {5, 5}, {16, 4}})
    for (const auto& [tied, dropped] : {std::pair{false, false}, {true, false}, {false, true}}) {
      const Shape shape{.tokens = 0, .hidden = 1, .ffn = 1, .experts = experts, .top_k = top_k};
      if (!GetParam().knows(shape)) continue;
      const int k = GetParam().gate->all_experts ? experts : top_k;
      const auto gate = GetParam().define(shape);
      Values logits(experts), dscore(k);
      for (int e = 0; e < experts; ++e) logits[e] = tied ? 0.5 : 4 * uniform_at(3, e) - 1;
      for (int j = 0; j < k; ++j) dscore[j] = dropped && j % 2 == 0 ? 0 : 2 * uniform_at(4, j) - 1;
      const auto chosen = choose(*gate, logits, k);
      const GateSlopes slopes = gate->slopes(logits, chosen, gate->scores(logits, chosen));
      const double mean = std::inner_product(dscore.begin(), dscore.end(), slopes.share.begin(), 0.0);
      const auto loss = [&] {
        const Values scores = gate->scores(logits, chosen);
        return std::inner_product(scores.begin(), scores.end(), dscore.begin(), 0.0);
      };
      for (int e = 0; e < experts; ++e) {
        constexpr double kStep = 1e-5;
        const double kept = logits[e];
        logits[e] = kept + kStep;
        const double above = loss();
        logits[e] = kept - kStep;
        const double below = loss();
        logits[e] = kept;
        const auto j = std::find(chosen.begin(), chosen.end(), e) - chosen.begin();
        EXPECT_NEAR(slopes.slope[e] * ((j < k ? dscore[j] : 0) - mean), (above - below) / (2 * kStep), 1e-9)
            << experts << " experts, k " << k << ", expert " << e;
      }
    }
}

TEST_P(EveryGate, AgreesWithTheOracleInEveryEngine) {
  for (const std::string& engine : GetParam().engines(cpu_capabilities()))
    for (const NamedCase& named : kLayerCases) {
      const Shape shape = GetParam().fitted(named.shape);
      if (shape.hidden > 100 || !GetParam().knows(shape)) continue;
      SCOPED_TRACE(engine + ", " + named.name);
      CaseOnOneRank rig(shape, engine, named.routing, 1, 2, GetParam().gate, GetParam().options);
      for (const CheckItem& item : rig.verify_all())
        EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
    }
}

TEST_P(EveryGate, AgreesWithASecondWayInEveryRow) {
  const Shape shape = GetParam().fitted(kSmall);
  if (!GetParam().knows(shape)) GTEST_SKIP() << "not for this shape";
  CaseOnOneRank rig(shape, "loop", {}, 1, 2, GetParam().gate, GetParam().options);
  const auto items =
      verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool, {.second_way_to = "loop"});
  EXPECT_EQ(items.back().name, "second");
  for (const CheckItem& item : items)
    EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
}

INSTANTIATE_TEST_SUITE_P(Gates, EveryGate, testing::ValuesIn(gate_cases()),
                         [](const auto& test) { return test.param.name; });

TEST(Gates, HaveDifferentNamesAndAnUnknownOneIsRefusedWithThem) {
  const auto names = gate_names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  EXPECT_EQ(names.front(), default_gate().name);
  for (const std::string& name : names) EXPECT_EQ(find_gate(name).name, name);
  try {
    find_gate("topc");
    FAIL() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'topk'?"), std::string::npos) << error.what();
  }
}

TEST(Gates, SoftmaxTopkRenormalisedIsTopk) {
  const Shape shape{.tokens = 1, .hidden = 1, .ffn = 1, .experts = 9, .top_k = 4};
  const auto topk = find_gate("topk").define(shape, {}),
             softmax = find_gate("softmax-topk").define(shape, {});
  Values logits(9);
  for (int e = 0; e < 9; ++e) logits[e] = 3 * uniform_at(5, e);
  const auto chosen = choose(*topk, logits, 4);
  EXPECT_EQ(choose(*softmax, logits, 4), chosen);
  Values scores = softmax->scores(logits, chosen);
  const double sum = std::reduce(scores.begin(), scores.end());
  EXPECT_LT(sum, 1);
  for (int j = 0; j < 4; ++j) EXPECT_NEAR(scores[j] / sum, topk->scores(logits, chosen)[j], 1e-15);
}

TEST(Gates, AffinitiesAreThoseOfTheChosenOverTheirSum) {
  const Shape shape{.tokens = 1, .hidden = 1, .ffn = 1, .experts = 3, .top_k = 2};
  const Values logits{0, std::log(3.0), -2};  // sigmoids 1/2 and 3/4, softplus ln 2 and ln 4
  const std::vector<std::int32_t> chosen{1, 0}, one{1};
  const auto sigmoid = find_gate("sigmoid").define(shape, {}),
             root = find_gate("sqrtsoftplus").define(shape, {});
  EXPECT_EQ(choose(*sigmoid, logits, 2), chosen);
  EXPECT_NEAR(sigmoid->scores(logits, chosen)[0], 0.6, 1e-15);
  EXPECT_NEAR(sigmoid->scores(logits, one)[0], 0.75, 1e-15);
  EXPECT_NEAR(root->scores(logits, chosen)[0], std::sqrt(2) / (std::sqrt(2) + 1), 1e-15);
  EXPECT_NEAR(root->scores(logits, one)[0], std::sqrt(2 * std::log(2)), 1e-15);
}

TEST(NoisyGates, DrawNewNumbersForEachStepAndToken) {
  const Shape shape{.tokens = 4, .hidden = 1, .ffn = 1, .experts = 4096, .top_k = 2};
  for (const auto& [name, mean, deviation] :
       {std::tuple{"noisy-topk", 2.0, std::log(2.0)}, {"forced", 0.0, 1.0}}) {
    const auto gate = find_gate(name).define(shape, {});
    const auto drawn = [&](int step, std::int64_t token) {
      Values logits(4096, 2.0);
      gate->perturb(step, token, logits);
      return logits;
    };
    const Values first = drawn(0, 0);
    double sum = 0, squares = 0;
    for (const double z : first) sum += z, squares += (z - mean) * (z - mean);
    EXPECT_NEAR(sum / 4096, mean, 5 * deviation / 64) << name;
    EXPECT_NEAR(std::sqrt(squares / 4096), deviation, 0.06 * deviation) << name;
    EXPECT_EQ(first, drawn(0, 0));
    EXPECT_NE(first, drawn(1, 0));
    EXPECT_NE(first, drawn(0, 1));
  }
}

/// Multinomial noise of E 256, K 8 and 1,024 tokens has max/mean 1.50.
TEST(NoisyGates, ForcedBalanceHasTheLoadOfMultinomialNoise) {
  const Shape shape{.tokens = 1024, .hidden = 1, .ffn = 1, .experts = 256, .top_k = 8};
  const auto gate = find_gate("forced").define(shape, {});
  double sum = 0;
  for (int step = 0; step < 8; ++step) {
    std::vector<int> rows(256);
    for (std::int64_t token = 0; token < shape.tokens; ++token) {
      Values logits(256);
      gate->perturb(step, token, logits);
      for (const std::int32_t e : choose(*gate, logits, 8)) ++rows[e];
    }
    sum += *std::max_element(rows.begin(), rows.end()) / 32.0;
  }
  EXPECT_NEAR(sum / 8, 1.5, 0.08);
}

TEST(Gates, WithAPublishedCapacitySayIt) {
  EXPECT_EQ(find_gate("switch").capacity, "1.25");
  EXPECT_EQ(find_gate("gshard").capacity, "1");
  EXPECT_EQ(find_gate("gshard").drop_policy, "choice");
  EXPECT_EQ(find_gate("topk").capacity, "none");
}

TEST(Gates, RefuseWhatTheyDoNotKnow) {
  const Shape shape{.tokens = 1, .hidden = 1, .ffn = 1, .experts = 8, .top_k = 4};
  const auto why = [&](std::string_view gate, const GateOptions& options) {
    return find_gate(gate).why_not(shape, options);
  };
  EXPECT_EQ(why("switch", {}), "gate switch makes one choice, not top_k 4");
  EXPECT_EQ(why("gshard", {}), "gate gshard makes two choices, not top_k 4");
  for (const std::string_view gate : {"topk", "softmax-topk", "noisy-topk", "forced"}) {
    EXPECT_EQ(why(gate, {}), "");
    EXPECT_EQ(why(gate, {.groups = {.count = 2}}),
              "this gate has no groups; valid: --gate sigmoid or sqrtsoftplus");
    EXPECT_EQ(why(gate, {.bias = 1}), "this gate has no bias; valid: --gate sigmoid or sqrtsoftplus");
    EXPECT_EQ(why(gate, {.scale = 2}), "this gate has no scale; valid: --gate sigmoid or sqrtsoftplus");
  }
  EXPECT_EQ(why("sigmoid", {.groups = {.count = 3}}), "groups 3:1: 3 does not divide the 8 experts");
}

/// A step of the layer under kDroppingGate.
struct DroppedStep {
  explicit DroppedStep(const std::string& engine)
      : rig(kSmall, engine, {}, 1, 2, &kDroppingGate), x(tensor()), y(tensor()), dy(tensor()), dx(tensor()) {
    rig.layer.load(rig.workload);
    rig.backend->fill(x, {7, 1.0f}, 0);
    rig.backend->fill(dy, {8, 1.0f}, 0);
    for (const Tensor* out : {&y, &dx}) rig.backend->poison(*out);
    NoTrace trace;
    rig.layer.forward(x, y, trace);
    rig.layer.backward(x, dy, dx, trace);
  }
  Tensor tensor() { return Tensor(rig.backend->memory(), DType::fp32, kSmall.tokens, kSmall.hidden); }
  CaseOnOneRank rig;
  Tensor x, y, dy, dx;
};

TEST(DroppedSlots, GiveNothingAndGetNoGradient) {
  for (const std::string& engine : make_cpu_backend(1)->engines()) {
    DroppedStep step(engine);
    const Routing& routing = step.rig.layer.routing();
    std::int64_t dropped = 0;
    for (std::int64_t t = 0; t < kSmall.tokens; ++t) {
      std::int64_t of_token = 0;
      for (std::int64_t j = 0; j < kSmall.top_k; ++j) {
        const std::int64_t slot = t * kSmall.top_k + j;
        EXPECT_EQ(routing.expert_of[slot] < 0, is_dropped(t, j));
        EXPECT_GE(routing.chosen[slot], 0);
        if (is_dropped(t, j)) {
          EXPECT_EQ(routing.dscore[slot], 0) << engine << ", slot " << slot;
        }
        of_token += is_dropped(t, j);
      }
      dropped += of_token;
      if (of_token < kSmall.top_k) continue;
      for (std::int64_t i = 0; i < kSmall.hidden; ++i) {
        ASSERT_EQ(step.y.view().as<float>()[t * kSmall.hidden + i], 0) << engine << ", token " << t;
        ASSERT_EQ(step.dx.view().as<float>()[t * kSmall.hidden + i], 0) << engine << ", token " << t;
      }
    }
    const RankLoad load = step.rig.layer.load();
    EXPECT_GT(dropped, 0);
    EXPECT_EQ(load.dropped, dropped);
    EXPECT_EQ(load.rows, kSmall.tokens * kSmall.top_k - dropped);
  }
}

TEST(DroppedSlots, OfAGateThatDropsNoneAreAnError) {
  struct Dropper : Trace {
    std::span<std::int32_t> expert_of;
    void begin(Stage stage, Pass pass) override {
      if (stage == Stage::plan && pass == Pass::forward) expert_of[3] = -1;
    }
    void end(Stage, Pass) override {}
  };
  CaseOnOneRank rig(kSmall, "loop");
  Dropper dropper;
  dropper.expert_of = rig.layer.routing().expert_of;
  const auto items = verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool,
                            {.full = true, .backward = false}, dropper);
  ASSERT_EQ(items.front().name, "gate");
  EXPECT_FALSE(items.front().passed());
}

/// A dispatcher that loses a row of a step with drops is seen.
TEST(DroppedSlots, DoNotHideALostRow) {
  struct Loser : Trace {
    std::span<std::int32_t> expert_of;
    void begin(Stage stage, Pass pass) override {
      if (stage != Stage::plan || pass != Pass::forward) return;
      *std::find_if(expert_of.begin(), expert_of.end(), [](std::int32_t e) { return e >= 0; }) = -1;
    }
    void end(Stage stage, Pass pass) override {
      if (stage == Stage::combine && pass == Pass::forward)  // as if the slot had had its row
        for (std::size_t slot = 0; slot < expert_of.size(); ++slot)
          if (expert_of[slot] < 0 && !is_dropped(static_cast<std::int64_t>(slot) / kSmall.top_k,
                                                 static_cast<std::int64_t>(slot) % kSmall.top_k))
            expert_of[slot] = chosen[slot];
    }
    std::span<std::int32_t> chosen;
  };
  CaseOnOneRank rig(kSmall, "loop", {}, 1, 2, &kDroppingGate);
  Loser loser;
  loser.expert_of = rig.layer.routing().expert_of;
  loser.chosen = rig.layer.routing().chosen;
  const auto items = verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool,
                            {.full = true, .backward = false}, loser);
  EXPECT_TRUE(std::any_of(items.begin(), items.end(),
                          [](const CheckItem& item) { return item.name == "y" && !item.passed(); }));
}

}  // namespace
}  // namespace moebench
