// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "suite/expect_usage_error.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

Sweep sweep_of(const Settings& command_line, int ranks = 1) {
  SweepRequest request;
  request.command_line = command_line;
  return expand_sweep(request, {.ranks = ranks});
}

Case only_case(const Settings& command_line, int ranks = 1) {
  const Sweep sweep = sweep_of(command_line, ranks);
  EXPECT_EQ(sweep.cases.size(), 1u);
  return sweep.cases.front();
}

TEST(RoutingFlags, FindsTheParameterThatATargetImbalanceAsksFor) {
  const Settings asked{{"routing", "zipf"}, {"target-imbalance", "1.5,2"}, {"tokens", "512"}};
  const Sweep sweep = sweep_of(asked);
  ASSERT_EQ(sweep.cases.size(), 2u);
  for (const Case& point : sweep.cases) {
    EXPECT_FALSE(point.routing.lacks_parameter());
    Settings again;  // as --repro says it
    for (const auto& [flag, value] : point.settings()) set(again, flag, value);
    EXPECT_EQ(only_case(again).routing, point.routing);
  }
  EXPECT_LT(sweep.cases[0].routing.parameter, sweep.cases[1].routing.parameter);
  expect_usage_error([] { only_case({{"routing", "zipf"}, {"target-imbalance", "7"}}); }, "comes as near as");
  expect_usage_error([] { only_case({{"routing", "zipf"}}); }, "lacks its parameter; valid: zipf:S");
  expect_usage_error([] { only_case({{"target-imbalance", "0.5"}}); }, "from 1 on");
}

TEST(RoutingFlags, PlacesTheExpertsOfARoutingThatHasSome) {
  EXPECT_EQ(only_case({{"routing", "one"}, {"placement", "shuffled"}}).routing.placement,
            Placement::shuffled);
  for (const auto& [flag, value] : only_case({}).settings()) EXPECT_NE(flag, "placement");
}

TEST(RoutingFlags, PlanWhereExpertsLieFromSomeStepsBefore) {
  const auto placed = [](const std::string& word) {
    return only_case({{"placement", word}, {"routing", "W6"}}).routing;
  };
  EXPECT_EQ(placed("eplb").placement, Placement::eplb);
  EXPECT_EQ(placed("eplb").window, 1);
  EXPECT_EQ(placed("eplb:3").window, 3);
  EXPECT_EQ(placement_of(placed("eplb:3")), "eplb:3");
  EXPECT_EQ(placement_of(placed("eplb")), "eplb");
  for (const char* word : {"eplb:0", "eplb:", "eplb:x", "eplb:5000"})
    expect_usage_error([&] { placed(word); }, "is not eplb:W (1 <= W <= 4096)");
  expect_usage_error([&] { placed("shadow:2"); }, "contiguous, shuffled");
}

TEST(RoutingFlags, SayWhetherTheGateComputesTheRouting) {
  EXPECT_FALSE(replays_routing(only_case({{"routing", "W1"}})));
  EXPECT_TRUE(replays_routing(only_case({{"routing", "W1"}, {"routing-via", "replayed"}})));
  EXPECT_TRUE(replays_routing(only_case({{"routing", "W1"}, {"hidden", "4"}})));  // 8 experts
  EXPECT_FALSE(replays_routing(only_case({{"hidden", "4"}})));
  expect_usage_error(
      [] {
        only_case({{"routing", "W1"}, {"hidden", "4"}, {"routing-via", "planted"}});
      },
      "needs experts <= hidden");
}

TEST(RoutingFlags, TakeNoFewerStepsThanThePeriod) {
  EXPECT_EQ(routing_steps_of(only_case({{"routing", "W6"}})), 12);
  EXPECT_EQ(routing_steps_of(only_case({{"routing", "W6"}, {"steps", "24"}})), 24);
  EXPECT_EQ(routing_steps_of(only_case({})), 0);
  EXPECT_EQ(routing_steps_of(only_case({{"steps", "5"}})), 5);
  expect_usage_error(
      [] {
        only_case({{"routing", "W6"}, {"steps", "11"}});
      },
      "--steps 11 is less than the 12 steps of routing W6");
}

TEST(GateFlags, GiveAGateItsPublishedCapacityAndTokensTheirPlaces) {
  const Case point = only_case({{"gate", "expert-choice"}, {"experts", "16"}});
  EXPECT_EQ(point.shape.slots, 16);
  EXPECT_EQ(point.gate_options.capacity.factor, 1);
  EXPECT_EQ(point.gate_options.capacity.policy, DropPolicy::probs);
  EXPECT_EQ(only_case({{"experts", "16"}}).shape.slots, 0);
}

TEST(RoutingFlags, RefuseATraceThatIsNotThere) {
  expect_usage_error(
      [] {
        only_case({{"routing", "trace:no-such-file.npy"}});
      },
      "no-such-file.npy: No such file");
  expect_usage_error([] { only_case({{"routing", "trace"}}); }, "lacks its parameter");
}

}  // namespace
}  // namespace moebench
