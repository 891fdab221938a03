// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "layer/case_on_one_rank.h"
#include "layer/cases.h"

namespace moebench {
namespace {

std::vector<std::string> failures(const std::vector<CheckItem>& items) {
  std::vector<std::string> names;
  for (const CheckItem& item : items)
    if (!item.passed()) names.push_back(item.name);
  return names;
}

class EveryEngine : public testing::TestWithParam<std::tuple<std::string, NamedCase>> {};

TEST_P(EveryEngine, AgreesWithTheOracleInEveryOutputAndGradient) {
  const auto& [engine, named] = GetParam();
  CaseOnOneRank rig(named.shape, engine, named.routing);
  const auto items = rig.verify_all();
  EXPECT_EQ(items.size(), items_of(named.shape));
  for (const CheckItem& item : items)
    EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
}

INSTANTIATE_TEST_SUITE_P(Layer, EveryEngine,
                         testing::Combine(testing::ValuesIn(make_cpu_backend(1)->engines()),
                                          testing::ValuesIn(kLayerCases)),
                         [](const auto& test) {
                           std::string name = std::get<0>(test.param) + "_" + std::get<1>(test.param).name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Layer, ChecksEveryRowOfSharedExpertsAgainstASecondWay) {
  for (const NamedCase& named : kLayerCases) {
    if (named.shape.shared_experts == 0) continue;
    CaseOnOneRank rig(named.shape, "loop", named.routing);
    const auto items =
        verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool, {.second_way_to = "loop"});
    EXPECT_EQ(failures(items), std::vector<std::string>{}) << named.name;
    EXPECT_TRUE(std::ranges::any_of(items, [](const CheckItem& i) { return i.name == "dshared_w1_rows"; }));
  }
}

/// A step in which the weight of a shared expert is wrong: a hundredth of one element.
TEST(Verify, FindsAWrongWeightOfASharedExpert) {
  struct Spoiler : Trace {
    TensorView weight;
    void begin(Stage stage, Pass pass) override {
      if (stage == Stage::gate && pass == Pass::forward) weight.as<float>()[3] += 0.01f;
    }
    void end(Stage, Pass) override {}
  };
  CaseOnOneRank rig(with(kSmall, [](Shape& s) { s.shared_experts = 2; }), "loop");
  Spoiler spoiler;
  spoiler.weight = rig.layer.parameters().value(Parameter::shared_w2);
  const auto failed =
      failures(verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool, {.full = true}, spoiler));
  for (const char* name : {"y", "dx", "dshared_w1"})
    EXPECT_NE(std::ranges::find(failed, name), failed.end()) << name;
  EXPECT_EQ(std::ranges::find(failed, "dw1"), failed.end());
}

TEST(Layer, SharedExpertsAddTheirOutputAndLeaveTheRestAsItIs) {
  Shape shape = kSmall;
  std::vector<std::vector<float>> outputs;
  for (const std::int64_t shared : {0, 1}) {
    shape.shared_experts = shared;
    CaseOnOneRank rig(shape, "loop");
    rig.layer.load(rig.workload);
    Tensor x(rig.backend->memory(), DType::fp32, shape.tokens, shape.hidden),
        y(rig.backend->memory(), DType::fp32, shape.tokens, shape.hidden);
    rig.backend->fill(x, {7, 1.0f}, 0);
    if (shared > 0) {  // an expert whose second matrix is zero
      const TensorView w2 = rig.layer.parameters().value(Parameter::shared_w2);
      std::fill_n(w2.as<float>(), w2.size(), 0.0f);
    }
    NoTrace trace;
    rig.layer.forward(x, y, trace);
    outputs.emplace_back(y.view().as<float>(), y.view().as<float>() + y.view().size());
  }
  EXPECT_EQ(outputs[0], outputs[1]);
}

TEST(Layer, AllocatesNothingAfterTheFirstStep) {
  for (const std::string& engine : make_cpu_backend(1)->engines()) {
    CaseOnOneRank rig(kSmall, engine);
    rig.verify_all();
    Tensor x(rig.backend->memory(), DType::fp32, kSmall.tokens, kSmall.hidden),
        y(rig.backend->memory(), DType::fp32, kSmall.tokens, kSmall.hidden);
    rig.backend->fill(x, {7, 1.0f}, 0);
    NoTrace trace;
    const auto before = rig.backend->memory().allocations();
    rig.layer.forward(x, y, trace);
    rig.layer.backward(x, y, y, trace);
    EXPECT_EQ(rig.backend->memory().allocations(), before) << engine;
  }
}

TEST(Layer, GivesTheSameBitsTwice) {
  CaseOnOneRank rig(kSmall, "loop");
  Tensor x(rig.backend->memory(), DType::fp32, kSmall.tokens, kSmall.hidden);
  rig.layer.load(rig.workload);
  rig.backend->fill(x, {7, 1.0f}, 0);
  std::vector<std::vector<float>> runs;
  for (int run = 0; run < 2; ++run) {
    Tensor y(rig.backend->memory(), DType::fp32, kSmall.tokens, kSmall.hidden);
    NoTrace trace;
    rig.layer.forward(x, y, trace);
    runs.emplace_back(y.view().as<float>(), y.view().as<float>() + y.view().size());
  }
  EXPECT_EQ(runs[0], runs[1]);
}

TEST(Layer, RefusesAnEngineItDoesNotHave) {
  try {
    CaseOnOneRank rig(kSmall, "lop");
    FAIL() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'loop'?"), std::string::npos) << error.what();
  }
}

/// A backend whose combine forgets the score of the last choice: an error that only numbers show.
TEST(Verify, FindsAWrongScore) {
  struct UnbalancedTrace : Trace {
    std::span<float> score;
    void begin(Stage stage, Pass pass) override {
      if (stage == Stage::combine && pass == Pass::forward) score[5] *= 1.01f;
    }
    void end(Stage, Pass) override {}
  };
  CaseOnOneRank rig(kSmall, "loop");
  EXPECT_EQ(failures(rig.verify_all()), std::vector<std::string>{});
  UnbalancedTrace trace;
  trace.score = rig.layer.routing().score;
  const auto items =
      verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool, {.full = true}, trace);
  const auto failed = failures(items);
  EXPECT_NE(std::find(failed.begin(), failed.end(), "score"), failed.end());
  EXPECT_NE(std::find(failed.begin(), failed.end(), "y"), failed.end());
}

TEST(Verify, FindsAnOutputThatIsNotANumber) {
  struct Poisoner : Trace {
    TensorView weight;
    void begin(Stage stage, Pass pass) override {
      if (stage == Stage::experts && pass == Pass::forward) weight.as<float>()[3] = std::nanf("");
    }
    void end(Stage, Pass) override {}
  };
  CaseOnOneRank rig(kSmall, "loop");
  Poisoner poisoner;
  poisoner.weight = rig.layer.parameters().value(Parameter::w2);
  const auto failed =
      failures(verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool, {.full = true}, poisoner));
  EXPECT_NE(std::find(failed.begin(), failed.end(), "y"), failed.end());
}

}  // namespace
}  // namespace moebench
