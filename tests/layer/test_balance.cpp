// SPDX-License-Identifier: Apache-2.0
// Gates that balance their load: Sinkhorn's algorithm over a group, and a bias that moves from step to step.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/normal.h"
#include "layer/case_on_one_rank.h"
#include "layer/cases.h"
#include "layer/gates/bias.h"
#include "layer/gates/choice.h"

namespace moebench {
namespace {

/// Logits [T, E], N(0, 1), plus each expert's popularity, N(0, 1) as well.
std::vector<double> popular_logits(std::int64_t step, std::int64_t tokens, std::int64_t experts) {
  std::vector<double> logits(static_cast<std::size_t>(tokens * experts));
  for (std::int64_t i = 0; i < tokens * experts; ++i)
    logits[static_cast<std::size_t>(i)] =
        normal_at(mix(5, static_cast<std::uint64_t>(step)), static_cast<std::uint64_t>(i)) +
        normal_at(20, static_cast<std::uint64_t>(i % experts));
  return logits;
}

/// Choices of each expert.
std::vector<std::int64_t> count(const GateDefinition& gate, const Shape& shape,
                                const std::vector<double>& logits, std::span<const double> offsets = {}) {
  std::vector<std::int64_t> choices(static_cast<std::size_t>(shape.experts));
  for (std::int64_t t = 0; t < shape.tokens; ++t)
    for (const std::int32_t e : choose(
             gate,
             {&logits[static_cast<std::size_t>(t * shape.experts)], static_cast<std::size_t>(shape.experts)},
             shape.top_k, offsets))
      ++choices[static_cast<std::size_t>(e)];
  return choices;
}

double max_over_mean(const std::vector<std::int64_t>& counts) {
  const double mean =
      static_cast<double>(std::reduce(counts.begin(), counts.end())) / static_cast<double>(counts.size());
  return static_cast<double>(*std::max_element(counts.begin(), counts.end())) / mean;
}

TEST(Sinkhorn, EvensOutWhatPopularExpertsWouldGet) {
  const Shape shape{.tokens = 2048, .hidden = 1, .ffn = 1, .experts = 64, .top_k = 8};
  const auto gate = find_gate("sinkhorn").define(shape, {});
  const auto logits = popular_logits(0, shape.tokens, shape.experts);
  EXPECT_GT(max_over_mean(count(*gate, shape, logits)), 4);
  EXPECT_LT(max_over_mean(count(*gate, shape, logits, gate->offsets(logits))), 1.25);
}

/// Megatron-LM iterates until factors change by less than 1e-4 on average.
TEST(Sinkhorn, HasConvergedAfterItsIterations) {
  for (const auto& [tokens, experts] : {std::pair{512, 64}, {2048, 8}, {1024, 256}}) {
    const Shape shape{.tokens = tokens, .hidden = 1, .ffn = 1, .experts = experts, .top_k = 2};
    const auto logits = popular_logits(0, tokens, experts);
    const auto factors = [&](int iterations) {
      auto offsets =
          find_gate("sinkhorn").define(shape, {.sinkhorn_iterations = iterations})->offsets(logits);
      for (double& offset : offsets) offset = std::exp(offset);
      return offsets;
    };
    const auto before = factors(kSinkhornIterations - 1), after = factors(kSinkhornIterations);
    double change = 0;
    for (std::size_t e = 0; e < after.size(); ++e) change += std::abs(after[e] - before[e]) / experts;
    EXPECT_LT(change, 1e-4) << experts << " experts";
  }
}

/// By hand: one iteration over c = [[1, 1], [1, 1/3]]. r = (1/4, 3/8), columns 1/4 + 3/8 and 1/4 + 1/8.
TEST(Sinkhorn, IsItsFormula) {
  const Shape shape{.tokens = 2, .hidden = 1, .ffn = 1, .experts = 2, .top_k = 1};
  const auto gate = find_gate("sinkhorn").define(shape, {.sinkhorn_iterations = 1});
  const auto offsets = gate->offsets(std::vector<double>{7, 7, 0, -std::log(3.0)});
  EXPECT_NEAR(offsets[0], std::log(4 / 5.0), 1e-7);
  EXPECT_NEAR(offsets[1], std::log(4 / 3.0), 1e-7);
  const std::vector<double> row{0, -std::log(3.0)};
  EXPECT_EQ(choose(*gate, row, 1, offsets), std::vector<std::int32_t>{0});
  EXPECT_NEAR(gate->scores(row, std::vector<std::int32_t>{1})[0], 0.25, 1e-12) << "one choice: its sigmoid";
}

TEST(Sinkhorn, RefusesWhatItIsNot) {
  const Shape shape{.tokens = 8, .hidden = 1, .ffn = 1, .experts = 8, .top_k = 2};
  EXPECT_EQ(find_gate("sinkhorn").why_not(shape, {.losses = {.aux = 1}}),
            "gate sinkhorn balances by itself; valid: no --aux-loss");
  EXPECT_NE(find_gate("sinkhorn").why_not(shape, {.capacity = {.group = 3}}).find("a group would be cut"),
            std::string::npos);
  for (const char* gate : {"topk", "sigmoid", "switch"})
    EXPECT_EQ(find_gate(gate).why_not(with(shape, [](Shape& s) { s.top_k = 1; }), {.sinkhorn_iterations = 3}),
              "this gate has no Sinkhorn iterations; valid: --gate sinkhorn");
}

TEST(MovingBias, MovesAgainstTheLoad) {
  std::vector<float> bias{0, 0.5f, 1, -1};
  move_bias(bias, std::vector<std::int64_t>{6, 2, 4, 4}, 0.25);
  EXPECT_EQ(bias, (std::vector<float>{-0.25f, 0.75f, 1, -1}));
  move_bias(bias, std::vector<std::int64_t>{0, 0, 0, 1}, 0.5);
  EXPECT_EQ(bias, (std::vector<float>{0.25f, 1.25f, 1.5f, -1.5f}));
}

/// MaxVio (max/mean − 1) of 64 experts, K 6, 512 tokens a step, U = 1e-3: 5.9, 3.6, 1.1, 0.5, 0.3 in a simulation; even
/// routing has 0.3. The popularity is a draw that begins near that.
TEST(MovingBias, BringsTheLoadToTheNoiseOfEvenRouting) {
  const Shape shape{.tokens = 512, .hidden = 1, .ffn = 1, .experts = 64, .top_k = 6};
  const auto gate = find_gate("sigmoid").define(shape, {.bias_update = 1e-3});
  std::vector<float> bias(64);
  std::vector<double> curve;
  for (int step = 0; step <= 500; ++step) {
    gate->set_bias(bias);
    const auto choices = count(*gate, shape, popular_logits(step, shape.tokens, shape.experts));
    if (step == 0 || step == 100 || step == 200 || step == 300 || step == 500)
      curve.push_back(max_over_mean(choices) - 1);
    move_bias(bias, choices, 1e-3);
  }
  const double expected[] = {5.9, 3.6, 1.1, 0.5, 0.3}, within[] = {0.5, 0.7, 0.8, 0.25, 0.2};
  for (std::size_t i = 0; i < curve.size(); ++i)
    EXPECT_NEAR(curve[i], expected[i], within[i]) << "point " << i;
}

}  // namespace
}  // namespace moebench
