// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "layer/case_on_one_rank.h"

namespace moebench {
namespace {

struct Named {
  const char* name;
  Shape shape;
  Skew skew = {};
};

const Shape kSmall{.tokens = 37, .hidden = 24, .ffn = 40, .experts = 6, .top_k = 2};

Shape with(Shape shape, auto change) {
  change(shape);
  return shape;
}

const Named kCases[] = {
    {"small", kSmall},
    {"swiglu", with(kSmall, [](Shape& s) { s.activation = Activation::swiglu; })},
    {"bias", with(kSmall, [](Shape& s) { s.bias = true; })},
    {"swiglu_bias", with(kSmall,
                         [](Shape& s) {
                           s.activation = Activation::swiglu;
                           s.bias = true;
                         })},
    {"one_token", with(kSmall, [](Shape& s) { s.tokens = 1; })},
    {"no_token", with(kSmall, [](Shape& s) { s.tokens = 0; })},
    {"one_expert", with(kSmall,
                        [](Shape& s) {
                          s.experts = 1;
                          s.top_k = 1;
                        })},
    {"every_expert", with(kSmall, [](Shape& s) { s.top_k = 6; })},
    {"width_one", with(kSmall,
                       [](Shape& s) {
                         s.hidden = 1;
                         s.ffn = 1;
                       })},
    {"odd_widths", with(kSmall,
                        [](Shape& s) {
                          s.hidden = 17;
                          s.ffn = 31;
                          s.experts = 5;
                          s.top_k = 3;
                        })},
    {"more_experts_than_rows", with(kSmall,
                                    [](Shape& s) {
                                      s.tokens = 3;
                                      s.experts = 64;
                                      s.hidden = 72;
                                    })},
    {"all_to_one", kSmall, {Skew::Kind::one}},
    {"zipf", with(kSmall, [](Shape& s) { s.tokens = 200; }), {Skew::Kind::zipf, 1.5}},
    {"hot", with(kSmall, [](Shape& s) { s.tokens = 200; }), {Skew::Kind::hot, 0.9}},
    {"balanced", kSmall, {Skew::Kind::balanced}},
};

std::vector<std::string> failures(const std::vector<CheckItem>& items) {
  std::vector<std::string> names;
  for (const CheckItem& item : items)
    if (!item.passed()) names.push_back(item.name);
  return names;
}

class EveryEngine : public testing::TestWithParam<std::tuple<std::string, Named>> {};

TEST_P(EveryEngine, AgreesWithTheOracleInEveryOutputAndGradient) {
  const auto& [engine, named] = GetParam();
  CaseOnOneRank rig(named.shape, engine, named.skew);
  const auto items = rig.verify_all();
  EXPECT_EQ(items.size(), named.shape.bias ? 10u : 8u);
  for (const CheckItem& item : items)
    EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
}

INSTANTIATE_TEST_SUITE_P(Layer, EveryEngine,
                         testing::Combine(testing::ValuesIn(make_cpu_backend(1)->engines()),
                                          testing::ValuesIn(kCases)),
                         [](const auto& test) {
                           std::string name = std::get<0>(test.param) + "_" + std::get<1>(test.param).name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

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
  struct Careless : Trace {
    std::span<float> score;
    void begin(Stage stage, Pass pass) override {
      if (stage == Stage::combine && pass == Pass::forward) score[5] *= 1.01f;
    }
    void end(Stage, Pass) override {}
  };
  CaseOnOneRank rig(kSmall, "loop");
  EXPECT_EQ(failures(rig.verify_all()), std::vector<std::string>{});
  Careless careless;
  careless.score = rig.layer.routing().score;
  const auto items =
      verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool, {.full = true}, careless);
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
