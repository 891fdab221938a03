// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "moe/workload.h"

namespace moebench {
namespace {

const Shape kShape{.tokens = 64, .hidden = 32, .ffn = 8, .experts = 8, .top_k = 2};

std::vector<float> input(const Workload& workload, int step, std::int64_t first, std::int64_t tokens) {
  std::vector<float> x(tokens * workload.shape().hidden);
  workload.input(step, first, tokens, x);
  return x;
}

/// The K largest logits of a token in double precision.
std::set<std::int64_t> top_k(const Workload& workload, const float* x) {
  const Shape& s = workload.shape();
  std::vector<std::pair<double, std::int64_t>> logits;
  for (std::int64_t e = 0; e < s.experts; ++e) {
    double logit = 0;
    for (std::int64_t i = 0; i < s.hidden; ++i)
      logit += double{x[i]} * workload.field(Parameter::gate).at(i * s.experts + e);
    logits.push_back({-logit, e});
  }
  std::sort(logits.begin(), logits.end());
  std::set<std::int64_t> best;
  for (std::int64_t j = 0; j < s.top_k; ++j) best.insert(logits[j].second);
  return best;
}

TEST(Workload, GivesATokenTheSameNumbersWhoeverAsks) {
  const Workload workload(kShape, parse_routing("zipf:1"), 5);
  const auto all = input(workload, 3, 0, 64), part = input(workload, 3, 20, 7);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 20 * 32));
}

TEST(Workload, ChangesWithSeedAndStep) {
  const Workload one(kShape, {}, 1), two(kShape, {}, 2);
  EXPECT_NE(input(one, 0, 0, 4), input(two, 0, 0, 4));
  EXPECT_NE(input(one, 0, 0, 4), input(one, 1, 0, 4));
  EXPECT_NE(one.field(Parameter::w1).at(0), two.field(Parameter::w1).at(0));
}

TEST(Workload, HasUnitVariance) {
  const auto x = input(Workload(kShape, {}, 1), 0, 0, 64);
  double sum = 0, squares = 0;
  for (const float v : x) sum += v, squares += double{v} * v;
  EXPECT_NEAR(sum / x.size(), 0, 0.1);
  EXPECT_NEAR(squares / x.size(), 1, 0.1);
}

class EveryRouting : public testing::TestWithParam<std::string> {};

TEST_P(EveryRouting, IsWhatTheGateThenChooses) {
  const Workload workload(kShape, parse_routing(GetParam()), 9);
  const auto x = input(workload, 0, 0, kShape.tokens);
  for (std::int64_t t = 0; t < kShape.tokens; ++t) {
    const auto planted = workload.target_experts(0, t);
    EXPECT_EQ(planted.size(), 2u);
    EXPECT_EQ(top_k(workload, &x[t * kShape.hidden]), std::set<std::int64_t>(planted.begin(), planted.end()))
        << "token " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Workload, EveryRouting,
                         testing::Values("balanced", "balanced:spread", "zipf:0", "zipf:1.2", "zipf:10",
                                         "lognormal:1", "power-law:1.2", "hot:0.5", "hot:1", "hot-rank:0.5",
                                         "one", "burst:1", "rotate:1", "W1", "W3", "W5", "W6", "W7"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

TEST(Routing, OfZipfFavoursTheFirstExperts) {
  Shape shape = kShape;
  shape.tokens = 4000;
  shape.top_k = 1;
  const Workload workload(shape, parse_routing("zipf:1"), 3);
  std::vector<int> count(8);
  for (std::int64_t t = 0; t < shape.tokens; ++t) ++count[workload.target_experts(0, t)[0]];
  const double harmonic = 1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0 + 1 / 5.0 + 1 / 6.0 + 1 / 7.0 + 1 / 8.0;
  for (int e = 0; e < 8; ++e) {
    const double expected = 4000 / harmonic / (e + 1);
    EXPECT_NEAR(count[e], expected, 5 * std::sqrt(expected)) << "expert " << e;
  }
}

TEST(Routing, OfBalancedIsExactlyEven) {
  const Workload workload(kShape, parse_routing("balanced"), 3);
  std::vector<int> count(8);
  for (std::int64_t t = 0; t < kShape.tokens; ++t)
    for (const auto e : workload.target_experts(0, t)) ++count[e];
  for (const int rows : count) EXPECT_EQ(rows, 16);
}

TEST(Routing, OfZipfStillFindsEveryExpertWhenAllAreWanted) {
  Shape shape = kShape;
  shape.top_k = 8;
  EXPECT_EQ(Workload(shape, parse_routing("zipf:10"), 1).target_experts(0, 0).size(), 8u);
}

TEST(Routing, IsReadStrictly) {
  EXPECT_EQ(name_of(parse_routing("zipf:1.5")), "zipf:1.5");
  EXPECT_EQ(name_of(parse_routing("random")), "random");
  EXPECT_EQ(name_of(parse_routing("balanced:spread")), "balanced:spread");
  EXPECT_EQ(name_of(parse_routing("zipf")), "zipf");  // its parameter is to be found
  EXPECT_THROW(Workload(kShape, parse_routing("zipf"), 1), UsageError);
  for (const char* bad : {"zipf:", "zipf:-1", "zipf:11", "hot:2", "one:1", "zipf:1:2", "zapf:1", "",
                          "hot:nan", "balanced:wide", "W8", "W1:2"})
    EXPECT_THROW(parse_routing(bad), UsageError) << bad;
}

TEST(Routing, CannotBePlantedWithMoreExpertsThanWidth) {
  Shape shape = kShape;
  shape.hidden = 4;
  EXPECT_THROW(Workload(shape, parse_routing("zipf:1"), 1), UsageError);
  EXPECT_NO_THROW(Workload(shape, {}, 1));
}

}  // namespace
}  // namespace moebench
