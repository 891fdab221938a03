// SPDX-License-Identifier: Apache-2.0
// Groups and biases: what is chosen, by hand, and how far off another choice is.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "layer/gates/choice.h"

namespace moebench {
namespace {

using Experts = std::vector<std::int32_t>;

/// The logit of an affinity.
double logit(double affinity) { return std::log(affinity / (1 - affinity)); }

std::vector<double> logits(std::initializer_list<double> affinities) {
  std::vector<double> values;
  for (const double affinity : affinities) values.push_back(logit(affinity));
  return values;
}

std::unique_ptr<GateDefinition> sigmoid(std::int64_t experts, std::int64_t k, const GateOptions& options) {
  return find_gate("sigmoid").define({.experts = experts, .top_k = k}, options);
}

/// Group 0 has the best expert, group 1 the best two.
const auto kLogits = logits({0.9, 0.1, 0.2, 0.7, 0.6, 0.3});

TEST(Choice, IsAmongTheGroupsWhoseBestSumToMost) {
  const auto gate = sigmoid(6, 2, {.groups = {.count = 2, .kept = 1}});
  EXPECT_EQ(choose(*gate, kLogits, 2), (Experts{3, 4}));
}

TEST(Choice, IsAmongTheGroupsWithTheBestExpertInDeepSeeksCodeWithoutABias) {
  const auto gate = sigmoid(6, 2, {.groups = {.count = 2, .kept = 1, .score = GroupScore::deepseek}});
  EXPECT_EQ(choose(*gate, kLogits, 2), (Experts{0, 2}));
}

TEST(Choice, IsAmongTheGroupsWithTheBestTwoInDeepSeeksCodeWithABias) {
  const auto gate =
      sigmoid(6, 2, {.groups = {.count = 2, .kept = 1, .score = GroupScore::deepseek}, .bias = 1e-6});
  EXPECT_EQ(choose(*gate, kLogits, 2), (Experts{3, 4}));
}

TEST(Choice, CountsKOverKeepExpertsOfAGroupAsMegatronDoes) {
  for (const auto& [k, kept, counted] : {std::tuple{8, 4, 2}, {8, 2, 4}, {6, 4, 1}})
    EXPECT_EQ((ExpertGroups{.count = 8, .kept = kept}.counted(k, true)), counted);
}

TEST(Choice, TakesTheLowerGroupAndExpertOnATie) {
  const std::vector<double> equal(6, 0.25);
  EXPECT_EQ(choose(*sigmoid(6, 2, {}), equal, 2), (Experts{0, 1}));
  EXPECT_EQ(choose(*sigmoid(6, 2, {.groups = {.count = 3, .kept = 2}}), equal, 2), (Experts{0, 1}));
}

/// With biases below −1 every rank is negative: experts of other groups are out even so.
TEST(Choice, LeavesOtherGroupsOutWhereRanksAreNegative) {
  struct Negative final : GateDefinition {
    GateRule rule() const override { return {.groups = 2, .kept_groups = 1, .counted = 1}; }
    std::vector<double> scores(std::span<const double>, std::span<const std::int32_t>) const override {
      return {};
    }
    GateSlopes slopes(std::span<const double>, std::span<const std::int32_t>,
                      std::span<const double>) const override {
      return {};
    }
  };
  const std::vector<double> ranks{-3, -9, -8, -4, -4, -4};
  EXPECT_EQ(choose(Negative(), ranks, 2), (Experts{0, 2}));
}

TEST(Choice, IsMovedByTheBiasAndTheScoresAreNot) {
  const GateOptions options{.bias = 0.5, .seed = 3};
  const auto biased = sigmoid(6, 2, options), plain = sigmoid(6, 2, {});
  const auto ranks = biased->ranking(kLogits);
  bool moved = false;
  for (std::size_t e = 0; e < 6; ++e) {
    const double b = ranks[e] - 1 / (1 + std::exp(-kLogits[e]));
    EXPECT_NEAR(b, options.bias_field().at(e), 1e-12);
    EXPECT_LE(std::abs(b), 0.5);
    moved = moved || std::abs(b) > 0.1;
  }
  EXPECT_TRUE(moved);
  const Experts some{3, 0};
  EXPECT_EQ(biased->scores(kLogits, some), plain->scores(kLogits, some));
}

TEST(Misrouting, IsByHowMuchTheBestLeftOutBeatsTheWorstTaken) {
  const auto gate = sigmoid(6, 2, {});
  const std::vector<double> z{4, 1, 2, 3, 0, 0};
  EXPECT_EQ(misrouting(*gate, z, Experts{0, 3}), 0);
  EXPECT_EQ(misrouting(*gate, z, Experts{3, 0}), 0);
  EXPECT_DOUBLE_EQ(misrouting(*gate, z, Experts{0, 2}), 0.25);
}

TEST(Misrouting, SeesAWrongGroupAndAWrongExpertOfARightOne) {
  const auto gate = sigmoid(6, 2, {.groups = {.count = 2, .kept = 1}});
  EXPECT_EQ(misrouting(*gate, kLogits, Experts{3, 4}), 0);
  EXPECT_NEAR(misrouting(*gate, kLogits, Experts{3, 5}), (0.6 - 0.3) / 0.9, 1e-12);
  EXPECT_NEAR(misrouting(*gate, kLogits, Experts{0, 2}), (1.3 - 1.1) / 1.3, 1e-12);
  EXPECT_EQ(misrouting(*gate, kLogits, Experts{0, 3}), std::numeric_limits<double>::infinity())
      << "two groups, and one is kept";
}

/// A kept group of which no expert was chosen.
TEST(Misrouting, CountsTheBestOtherGroupsAsKept) {
  const auto gate = sigmoid(6, 2, {.groups = {.count = 3, .kept = 2}});
  const auto z = logits({0.9, 0.8, 0.7, 0.1, 0.2, 0.1});
  EXPECT_EQ(choose(*gate, z, 2), (Experts{0, 1}));
  EXPECT_EQ(misrouting(*gate, z, Experts{0, 1}), 0);
}

}  // namespace
}  // namespace moebench
