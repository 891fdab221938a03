// SPDX-License-Identifier: Apache-2.0
// The losses of gates: values by hand, gradients by finite differences, and layers that have them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "layer/case_on_one_rank.h"
#include "layer/cases.h"
#include "layer/gates/choice.h"
#include "layer/gates/loss.h"

namespace moebench {
namespace {

const Shape kShape{.tokens = 6, .hidden = 1, .ffn = 1, .experts = 4, .top_k = 2};

struct Tokens {
  std::vector<double> logits;        // [T, E]
  std::vector<std::int32_t> chosen;  // [T, K]
};

Tokens some_tokens(const GateDefinition& gate, const Shape& shape) {
  Tokens tokens;
  for (std::int64_t t = 0; t < shape.tokens; ++t) {
    std::vector<double> row;
    for (std::int64_t e = 0; e < shape.experts; ++e)
      row.push_back(3 * uniform_at(5, static_cast<std::uint64_t>(t * shape.experts + e)));
    const auto chosen = choose(gate, row, shape.top_k);
    tokens.logits.insert(tokens.logits.end(), row.begin(), row.end());
    tokens.chosen.insert(tokens.chosen.end(), chosen.begin(), chosen.end());
  }
  return tokens;
}

TEST(GateLosses, HaveTheGradientsThatFiniteDifferencesSay) {
  for (const char* name : {"topk", "softmax-topk", "sigmoid", "sqrtsoftplus"})
    for (const LossOptions& options : {LossOptions{.aux = 0.5},
                                       {.aux = 0.5, .sequence = 2},
                                       {.z = 0.25},
                                       {.aux = 2, .sequence = 3, .z = 0.5}}) {
      const auto gate = find_gate(name).define(kShape, {});
      const GateLosses losses(*gate, kShape, options);
      Tokens tokens = some_tokens(*gate, kShape);
      const auto counts = losses.counts(tokens.chosen);
      const std::int64_t e = kShape.experts;
      const auto loss = [&] {
        const GateLossValues values = losses.values(tokens.logits, tokens.chosen);
        return values.aux + values.z;
      };
      for (std::int64_t t = 0; t < kShape.tokens; ++t) {
        std::span<const std::int32_t> of_group = counts;
        if (!counts.empty()) of_group = of_group.subspan(t / options.group_of(kShape) * e, e);
        const auto gradient = losses.gradient(std::span(tokens.logits).subspan(t * e, e), of_group);
        for (std::int64_t i = 0; i < e; ++i) {
          constexpr double kStep = 1e-5;
          double& z = tokens.logits[t * e + i];
          const double kept = z;
          z = kept + kStep;
          const double above = loss();
          z = kept - kStep;
          const double below = loss();
          z = kept;
          EXPECT_NEAR(gradient.value[i], (above - below) / (2 * kStep), 1e-9)
              << name << ", token " << t << ", expert " << i;
          EXPECT_GE(gradient.size[i] * (1 + 1e-12), std::abs(gradient.value[i]));
        }
      }
    }
}

TEST(GateLosses, AreAlphaWhereRoutingIsEven) {
  const Shape shape{.tokens = 8, .experts = 4, .top_k = 2};
  const std::vector<double> logits(32, 0.75);
  std::vector<std::int32_t> chosen;
  for (int slot = 0; slot < 16; ++slot) chosen.push_back(slot % 4);
  for (const char* name : {"topk", "sigmoid"}) {
    const auto gate = find_gate(name).define(shape, {});
    EXPECT_NEAR(GateLosses(*gate, shape, {.aux = 0.01}).values(logits, chosen).aux, 0.01, 1e-15);
    EXPECT_NEAR(GateLosses(*gate, shape, {.aux = 0.01, .sequence = 2}).values(logits, chosen).aux, 0.01,
                1e-15);
  }
}

/// All to one expert that is sure of itself: f = 1/K of the choices, P = 1.
TEST(GateLosses, AreEAlphaWhereOneExpertHasAll) {
  const Shape shape{.tokens = 3, .experts = 4, .top_k = 1};
  const std::vector<double> logits{60, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0};
  const auto gate = find_gate("topk").define(shape, {});
  EXPECT_NEAR(GateLosses(*gate, shape, {.aux = 0.5}).values(logits, std::vector<std::int32_t>(3, 0)).aux, 2,
              1e-12);
}

TEST(GateLosses, OfZAreTheMeanSquareOfTheLogarithmOfTheSum) {
  const Shape shape{.tokens = 2, .experts = 2, .top_k = 1};
  const auto gate = find_gate("topk").define(shape, {});
  const std::vector<double> logits{0, 0, std::log(3.0), 0};
  const double expected = 0.1 * (std::pow(std::log(2.0), 2) + std::pow(std::log(4.0), 2)) / 2;
  EXPECT_NEAR(GateLosses(*gate, shape, {.z = 0.1}).values(logits, std::vector<std::int32_t>{0, 0}).z,
              expected, 1e-15);
}

TEST(GateLosses, OfRanksAddUp) {
  const auto gate = find_gate("topk").define(kShape, {});
  const GateLosses losses(*gate, kShape, {.aux = 0.5, .sequence = 2, .z = 0.5});
  const Tokens tokens = some_tokens(*gate, kShape);
  const auto all = losses.values(tokens.logits, tokens.chosen);
  GateLossValues sum;
  for (const std::int64_t first : {0, 2}) {
    const std::int64_t count = first == 0 ? 2 : 4;
    const auto share = losses.values(std::span(tokens.logits).subspan(first * 4, count * 4),
                                     std::span(tokens.chosen).subspan(first * 2, count * 2));
    sum.aux += share.aux, sum.z += share.z;
  }
  EXPECT_NEAR(sum.aux, all.aux, 1e-14);
  EXPECT_NEAR(sum.z, all.z, 1e-14);
}

TEST(GateLosses, AreInTheGradientsOfTheLayer) {
  Shape shape = kSmall;
  shape.tokens = 36;
  for (const char* name : {"topk", "softmax-topk", "sigmoid", "sqrtsoftplus", "noisy-topk"})
    for (const LossOptions& losses : {LossOptions{.aux = 20},
                                      {.aux = 20, .sequence = 12},
                                      {.z = 5},
                                      {.aux = 20, .sequence = 4, .z = 5}}) {
      SCOPED_TRACE(name);
      CaseOnOneRank rig(shape, "loop", {}, 1, 2, &find_gate(name), {.losses = losses});
      for (const CheckItem& item : verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool,
                                          {.full = true, .second_way_to = "loop"}))
        EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
    }
}

/// A layer that leaves the losses' gradient out is found.
TEST(GateLosses, ThatAreNotInTheGradientsAreMissed) {
  struct Forgetful : Trace {
    Layer* layer;
    std::vector<float> without;
    void begin(Stage, Pass) override {}
    void end(Stage stage, Pass pass) override {
      if (stage != Stage::gate || pass != Pass::backward) return;
      const TensorView gradient = layer->parameters().gradient(Parameter::gate);
      std::copy(without.begin(), without.end(), gradient.as<float>());
    }
  };
  CaseOnOneRank plain(kSmall, "loop"),
      rig(kSmall, "loop", {}, 1, 2, &default_gate(), {.losses = {.aux = 20, .sequence = 1}});
  plain.verify_all();
  const TensorView gradient = plain.layer.parameters().gradient(Parameter::gate);
  Forgetful forgetful;
  forgetful.layer = &rig.layer;
  forgetful.without.assign(gradient.as<float>(), gradient.as<float>() + gradient.size());
  for (const CheckItem& item :
       verify(rig.layer, rig.workload, *rig.world, *rig.backend, rig.pool, {.full = true}, forgetful))
    EXPECT_EQ(item.passed(), item.name != "dgate") << item.name << " " << item.error;
}

TEST(GateLosses, AreReadFromTheLayer) {
  CaseOnOneRank rig(kSmall, "loop", parse_routing("one"), 1, 2, &default_gate(),
                    {.losses = {.aux = 1, .z = 1}});
  rig.verify_all();
  const GateLossValues values = rig.layer.losses();
  EXPECT_NEAR(values.aux, 6.0 / 2, 0.01) << "two of six experts have all tokens";
  EXPECT_GT(values.z, 100) << "of logits raised by 12";
}

}  // namespace
}  // namespace moebench
