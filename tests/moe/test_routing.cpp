// SPDX-License-Identifier: Apache-2.0
// What the words of --routing mean: counts of experts and ranks against their expectations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/text.h"
#include "moe/load.h"
#include "moe/permutation.h"
#include "moe/routing_counts.h"
#include "moe/target_imbalance.h"

namespace moebench {
namespace {

Shape shape_of(std::int64_t experts, std::int64_t k, int ep = 1, std::int64_t tokens = 8192) {
  return {.tokens = tokens, .hidden = 512, .ffn = 8, .experts = experts, .top_k = k, .ranks = ep, .ep = ep};
}

/// Rows of each expert in one step; every token's experts are different and exist.
std::vector<std::int64_t> rows_of(const std::string& word, const Shape& shape, int step = 0,
                                  Placement placement = Placement::contiguous) {
  RoutingDistribution routing = parse_routing(word);
  routing.placement = placement;
  const auto draw = make_draw(shape, routing, 3);
  std::vector<std::int64_t> rows(shape.experts), chosen(shape.top_k);
  for (std::int64_t t = 0; t < shape.tokens; ++t) {
    draw->choose(step, t, chosen);
    EXPECT_EQ(std::set<std::int64_t>(chosen.begin(), chosen.end()).size(), chosen.size())
        << word << ", token " << t;
    for (const std::int64_t e : chosen) ++rows.at(e);
  }
  return rows;
}

/// max / mean over blocks of experts, one per rank.
double over_ranks(const std::vector<std::int64_t>& rows, int ranks) {
  std::vector<std::int64_t> sums(ranks);
  for (std::size_t e = 0; e < rows.size(); ++e) sums[e * ranks / rows.size()] += rows[e];
  return load_stats(sums).imbalance + 1;
}

struct Expectation {
  const char* word;
  int step;
  std::int64_t experts, k;
  std::vector<std::pair<double, double>>
      loads;                      ///< fraction of the experts, rows over the mean, in this order
  double ranks2, ranks4, ranks8;  ///< max / mean
};

// docs/routing.md has the sums that these are.
const Expectation kExpectations[] = {
    {"W1", 0, 8, 2, {{0.25, 3.25}, {0.75, 0.25}}, 1.75, 3.25, 3.25},
    {"W1", 0, 8, 4, {{0.5, 1.75}, {0.5, 0.25}}, 1.75, 1.75, 1.75},
    {"W1", 0, 64, 8, {{0.25, 3.25}, {0.75, 0.25}}, 1.75, 3.25, 3.25},
    {"W1", 0, 256, 8, {{0.25, 3.25}, {0.75, 0.25}}, 1.75, 3.25, 3.25},
    {"W4", 0, 64, 8, {{1, 1}}, 1, 1, 1},
    {"W5", 0, 8, 2, {{0.5, 0}, {0.5, 2}}, 2, 2, 2},
    {"W6", 3, 8, 2, {{0.25, 0.25}, {0.25, 3.25}, {0.5, 0.25}}, 1.75, 3.25, 3.25},
    {"W6", 13, 8, 2, {{0.25, 3.25}, {0.75, 0.25}}, 1.75, 3.25, 3.25},
    {"W7", 2, 8, 2, {{1, 1}}, 1, 1, 1},
    {"W7", 3, 8, 2, {{0.25, 2.5}, {0.75, 0.5}}, 1.5, 2.5, 2.5},
    {"hot-rank:0.5", 0, 64, 8, {{1, 1}}, 1, 1, 1},  // of one rank
};

TEST(Routing, OfTheTokenImbalanceBenchmarkMeetsItsExpectations) {
  for (const Expectation& expected : kExpectations) {
    const Shape shape = shape_of(expected.experts, expected.k, 1, 32768);
    const auto rows = rows_of(expected.word, shape, expected.step);
    const double mean = static_cast<double>(shape.tokens * shape.top_k) / static_cast<double>(shape.experts);
    std::size_t e = 0;
    for (const auto& [part, load] : expected.loads)
      for (std::size_t i = 0; i < part * rows.size(); ++i, ++e)
        EXPECT_NEAR(rows[e], load * mean, 5 * std::sqrt(load * mean)) << expected.word << ", expert " << e;
    for (const auto& [ranks, most] :
         {std::pair(2, expected.ranks2), {4, expected.ranks4}, {8, expected.ranks8}})
      EXPECT_NEAR(over_ranks(rows, ranks), most, 0.03 * most) << expected.word << " over " << ranks;
  }
}

TEST(Routing, W3FavoursEveryOtherExpert) {
  const auto rows = rows_of("W3", shape_of(64, 8, 1, 32768));
  for (std::size_t e = 0; e < rows.size(); ++e) {
    const double expected = (e % 2 == 0 ? 1.75 : 0.25) * 4096;
    EXPECT_NEAR(rows[e], expected, 5 * std::sqrt(expected)) << "expert " << e;
  }
  EXPECT_NEAR(over_ranks(rows, 8), 1, 0.02);
}

TEST(Routing, W1AndW2AreOne) { EXPECT_EQ(rows_of("W1", shape_of(16, 2)), rows_of("W2", shape_of(16, 2))); }

TEST(Routing, FewExpertsStillGiveEveryTokenItsShare) {
  for (const RoutingKind& kind : routing_kinds()) {
    if (!kind.draw) continue;
    const std::string word = cat(kind.name, kind.parameter.empty() ? "" : cat(":", kind.max));
    for (const auto& [experts, k] : {std::pair(1, 1), {5, 5}, {5, 4}, {7, 3}})
      for (const int step : {0, 3}) {
        const auto rows = rows_of(word, shape_of(experts, k, 1, 50), step);
        EXPECT_EQ(std::reduce(rows.begin(), rows.end()), 50 * k) << word;
      }
  }
}

TEST(Routing, BalancedIsEvenNextToEachOtherAndSpreadFarApart) {
  const Shape shape = shape_of(16, 4, 4, 160);
  for (const char* word : {"balanced", "balanced:spread"})
    for (const std::int64_t rows : rows_of(word, shape)) EXPECT_EQ(rows, 40) << word;
  std::vector<std::int64_t> chosen(4);
  make_draw(shape, parse_routing("balanced"), 1)->choose(0, 1, chosen);
  EXPECT_EQ(chosen, (std::vector<std::int64_t>{4, 5, 6, 7}));  // one rank of four
  make_draw(shape, parse_routing("balanced:spread"), 1)->choose(0, 1, chosen);
  EXPECT_EQ(chosen, (std::vector<std::int64_t>{1, 5, 9, 13}));  // all four
}

/// Medians of max / mean over seeds, computed from the weights alone: 1.96 for S = 0.25, 3.5 for 0.5 with 256 experts.
TEST(Routing, OfLognormalIsAsUnevenAsItsParameterSays) {
  for (const auto& [parameter, expected] : {std::pair(0.25, 1.96), {0.5, 3.5}}) {
    std::vector<double> found;
    for (std::uint64_t seed = 0; seed < 21; ++seed)
      found.push_back(
          imbalance_of(shape_of(256, 1, 1, 65536), {parse_routing("lognormal").kind, parameter}, seed));
    std::sort(found.begin(), found.end());
    EXPECT_NEAR(found[10], expected, 0.12 * expected) << parameter;
  }
}

TEST(Routing, OfPowerLawGivesExactlyItsCounts) {
  const Shape shape = shape_of(64, 4, 1, 1000);
  const auto first = rows_of("power-law:1.2", shape, 0), later = rows_of("power-law:1.2", shape, 5);
  EXPECT_EQ(first, later);  // other tokens, the same counts
  EXPECT_GT(load_stats(first).imbalance, 2);
  EXPECT_LE(load_stats(first).max, shape.tokens);
}

TEST(Routing, OfHotRankFillsRankZero) {
  const auto rows = rows_of("hot-rank:0.5", shape_of(32, 4, 8));
  EXPECT_NEAR(over_ranks(rows, 8), 8 * (0.5 + 0.5 / 8), 0.1);
}

TEST(Routing, OfBurstAndRotateFollowsTheStep) {
  const Shape shape = shape_of(16, 1, 1, 1600);
  for (const int step : {0, 1, 2, 4}) EXPECT_EQ(load_stats(rows_of("burst:0.5", shape, step)).imbalance, 0);
  EXPECT_GT(rows_of("burst:0.5", shape, 3)[0], 750);
  EXPECT_GT(rows_of("burst:0.5", shape, 7)[0], 750);
  for (const int step : {0, 1, 7, 8})
    EXPECT_GT(rows_of("rotate:0.5", shape, step)[step % 8 * 2], 750) << step;
  EXPECT_EQ(period_of(parse_routing("burst:1"), shape), 4);
  EXPECT_EQ(period_of(parse_routing("rotate:1"), shape), 8);
  EXPECT_EQ(period_of(parse_routing("W6"), shape), 12);
  EXPECT_EQ(period_of(parse_routing("W1"), shape), 1);
}

TEST(Routing, ShuffledHasTheSameCountsElsewhere) {
  const Shape shape = shape_of(32, 2);
  auto here = rows_of("zipf:1", shape), there = rows_of("zipf:1", shape, 0, Placement::shuffled);
  EXPECT_NE(here, there);
  for (auto* rows : {&here, &there}) std::sort(rows->begin(), rows->end());
  EXPECT_EQ(here, there);
}

TEST(RoutingCounts, AreInProportionAndNoneExceedsTheTokens) {
  const auto counts = [](std::vector<double> weights, std::int64_t tokens, std::int64_t k) {
    return counts_in_proportion(weights, tokens, k);
  };
  using Counts = std::vector<std::int64_t>;
  EXPECT_EQ(counts({4, 3, 2, 1}, 5, 2), (Counts{4, 3, 2, 1}));
  EXPECT_EQ(counts({100, 1, 1, 1}, 6, 2), (Counts{6, 2, 2, 2}));
  EXPECT_EQ(counts({1, 1, 1}, 5, 1), (Counts{2, 2, 1}));
  EXPECT_EQ(counts({1, 0, 0}, 4, 2), (Counts{4, 2, 2}));
  EXPECT_EQ(counts({0, 0, 0, 0}, 4, 2), (Counts{2, 2, 2, 2}));
  EXPECT_EQ(counts({1, 1}, 3, 2), (Counts{3, 3}));
  EXPECT_EQ(counts({5, 5}, 0, 2), (Counts{0, 0}));
}

TEST(Permutation, TakesEveryPlaceOnce) {
  for (const std::uint64_t n : {1, 2, 3, 5, 64, 1000}) {
    std::set<std::uint64_t> seen;
    bool moved = n < 5;
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t place = Permutation(n, 7).at(i);
      EXPECT_LT(place, n);
      moved |= place != i;
      seen.insert(place);
    }
    EXPECT_EQ(seen.size(), n);
    EXPECT_TRUE(moved);
  }
}

TEST(TargetImbalance, IsReachedWithinAPercentOrRefused) {
  const Shape shape = shape_of(64, 2);
  for (const char* word : {"zipf", "lognormal", "hot", "burst", "rotate", "power-law"}) {
    const FoundParameter found = find_parameter(shape, parse_routing(word), 1, 3);
    EXPECT_TRUE(found.within) << word << " reaches " << found.reached;
    const RoutingDistribution routing{parse_routing(word).kind, found.parameter};
    EXPECT_NEAR(imbalance_of(shape, routing, 1), 3, 0.03) << word;
    EXPECT_EQ(parse_routing(name_of(routing)), routing);
    EXPECT_EQ(why_not_target(shape, routing, 1, 3), "");
    EXPECT_NE(why_not_target(shape, routing, 1, 4).find("leave its parameter out"), std::string::npos);
  }
  EXPECT_FALSE(find_parameter(shape, parse_routing("zipf"), 1, 40).within);
  EXPECT_NE(why_not_target(shape, parse_routing("zipf"), 1, 40).find("comes as near as"), std::string::npos);
  EXPECT_NE(why_not_target(shape, parse_routing("one"), 1, 2).find("has none"), std::string::npos);
}

}  // namespace
}  // namespace moebench
