// SPDX-License-Identifier: Apache-2.0
// The same tokens and weights on one rank and on all of them: outputs and every gradient must agree. Under mpirun.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "layer/backend_under_test.h"
#include "layer/gate_cases.h"
#include "layer/moving_bias.h"
#include "layer/rank_cases.h"
#include "layer/relative_error.h"
#include "layer/verify.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

/// What a step produced over all tokens and experts, by name.
using Results = std::map<std::string, std::vector<float>>;

/// Runs one step on the ranks of `world`. Gradients of experts come from the first expert-parallel group; `replicas_agree`
/// says whether the others hold the same.
Results run(Shape shape, int ep, const LayerOptions& options, RoutingDistribution routing, World& world,
            bool& replicas_agree) {
  shape.ranks = world.size();
  shape.ep = ep;
  shape.slots = slots_of(*options.gate, shape);
  const auto backend = backend_under_test();
  Groups groups(world.make_comm(backend->memory(), backend->stream()), ep);
  const Workload workload(shape, routing, 3);
  Layer layer(shape, groups, *backend, options);
  layer.load(workload);
  const std::int64_t first = shape.first_token(world.rank()), tokens = shape.tokens_of(world.rank());
  Tensor x(backend->memory(), DType::fp32, tokens, shape.hidden),
      y(backend->memory(), DType::fp32, tokens, shape.hidden);
  Tensor dy(backend->memory(), DType::fp32, tokens, shape.hidden),
      dx(backend->memory(), DType::fp32, tokens, shape.hidden);
  std::vector<float> host(static_cast<std::size_t>(tokens * shape.hidden));
  workload.input(0, first, tokens, host);
  backend->upload(x, host);
  workload.output_gradient(0, first, tokens, host);
  backend->upload(dy, host);
  NoTrace trace;
  for (int step = 0; step < 2; ++step) {  // before and after the row counts are relied on
    layer.forward(x, y, trace);
    layer.backward(x, dy, dx, trace);
    layer.settle();
  }
  layer.sync(trace);

  Results results{{"y", gather_all(world, download(*backend, y))},
                  {"dx", gather_all(world, download(*backend, dx))}};
  for (const ParameterTensors& parameter : layer.parameters().all()) {
    const auto mine = download(*backend, parameter.gradient);
    auto all = gather_all(world, mine);
    const std::size_t one_copy =
        parameter.spec.tag == Tag::world ? mine.size() : mine.size() * static_cast<std::size_t>(ep);
    for (std::size_t i = one_copy; i < all.size(); ++i)
      replicas_agree = replicas_agree && all[i] == all[i % one_copy];
    all.resize(one_copy);
    results[std::string(parameter.spec.name)] = all;
  }
  return results;
}

class Ranks : public testing::TestWithParam<RankCase> {};

TEST_P(Ranks, AgreeWithOneRankInOutputsAndGradients) {
  const auto& [name, shape, routing, engine, exchange, overlap, gate, gate_options] = GetParam();
  if (overlap != Overlap::none &&
      !backend_under_test()->traits(engine, engine_shape_of(shape, true, 1)).takes_parts)
    GTEST_SKIP() << "no fp32 engine of this backend runs a pass in parts";
  const LayerOptions options{
      .engine = engine, .exchange = exchange, .overlap = overlap, .gate = gate, .gate_options = gate_options};
  World& world = world_under_test();
  const auto alone = make_self_world();
  bool replicas_agree = true;
  const Results expected = run(shape, 1, options, routing, *alone, replicas_agree);
  for (int ep = 1; ep <= world.size(); ++ep) {
    if (world.size() % ep != 0) continue;
    const Results found = run(shape, ep, options, routing, world, replicas_agree);
    EXPECT_TRUE(replicas_agree) << "ep " << ep;
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [what, values] : expected) {
      ASSERT_EQ(found.at(what).size(), values.size()) << what << ", ep " << ep;
      RelativeError difference;
      for (std::size_t i = 0; i < values.size(); ++i) difference.add(found.at(what)[i], values[i]);
      EXPECT_LE(difference.relative(), error_bound(DType::fp32)) << what << ", ep " << ep;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layer, Ranks, testing::ValuesIn(rank_cases()),
                         [](const auto& test) { return test.param.name; });

TEST(RanksAndOracle, AgreeOnEveryRank) {
  World& world = world_under_test();
  for (int ep = 1; ep <= world.size(); ++ep) {
    if (world.size() % ep != 0) continue;
    const Shape shape{.tokens = 41,
                      .hidden = 12,
                      .ffn = 20,
                      .experts = 8,
                      .top_k = 2,
                      .ranks = world.size(),
                      .ep = ep,
                      .bias = true};
    const auto backend = backend_under_test();
    ThreadPool pool(1);
    Groups groups(world.make_comm(backend->memory(), backend->stream()), ep);
    Layer layer(shape, groups, *backend, {});
    for (const CheckItem& item : verify(layer, Workload(shape, {}, 1), world, *backend, pool, {.full = true}))
      EXPECT_TRUE(item.passed()) << item.name << " " << item.error << ", ep " << ep;
  }
}

TEST(RanksAndOracle, AgreeForEveryGateAndExchange) {
  World& world = world_under_test();
  for (const GateCase& gate : gate_cases())
    for (const Exchange exchange : {Exchange::fused, Exchange::per_expert, Exchange::direct})
      for (const bool full : {true, false}) {
        const Shape shape = gate.fitted({.tokens = 41,
                                         .hidden = 12,
                                         .ffn = 20,
                                         .experts = 8,
                                         .top_k = 2,
                                         .ranks = world.size(),
                                         .ep = world.size(),
                                         .bias = true});
        if (!gate.knows(shape)) continue;
        const auto backend = backend_under_test();
        ThreadPool pool(1);
        Groups groups(world.make_comm(backend->memory(), backend->stream()), shape.ep);
        Layer layer(shape, groups, *backend,
                    {.exchange = exchange, .gate = gate.gate, .gate_options = gate.options});
        VerifyOptions options{.full = full};
        if (!full) options.second_way_to = "loop";
        for (const CheckItem& item : verify(layer, Workload(shape, {}, 1), world, *backend, pool, options))
          EXPECT_TRUE(item.passed()) << gate.name << ", " << name_of(exchange) << ": " << item.name << " "
                                     << item.error << " at " << item.where;
      }
}

/// Half of a planted routing's tokens want expert 0; six steps later fewer get it. The bias is the same on every rank.
TEST(RanksAndOracle, AgreeInEachStepOfAMovingBias) {
  World& world = world_under_test();
  const Shape shape{.tokens = 64,
                    .hidden = 12,
                    .ffn = 20,
                    .experts = 8,
                    .top_k = 2,
                    .ranks = world.size(),
                    .ep = world.size()};
  constexpr int kSteps = 6;
  const GateOptions gate_options{.capacity = {.factor = 4, .group = 8}, .bias_update = 0.125};
  const auto backend = backend_under_test();
  ThreadPool pool(1);
  Groups groups(world.make_comm(backend->memory(), backend->stream()), shape.ep);
  const Workload workload(shape, parse_routing("hot:1"), 1, {.steps = kSteps});
  Layer layer(shape, groups, *backend,
              {.gate = &find_gate("sigmoid"), .gate_options = gate_options, .bias_steps = kSteps});
  layer.load(workload);
  std::vector<Tensor> inputs;
  std::vector<float> host(static_cast<std::size_t>(shape.tokens_of(world.rank()) * shape.hidden));
  for (int step = 0; step < kSteps; ++step) {
    inputs.emplace_back(backend->memory(), DType::fp32, shape.tokens_of(world.rank()), shape.hidden);
    workload.input(step, shape.first_token(world.rank()), shape.tokens_of(world.rank()), host);
    backend->upload(inputs.back(), host);
  }
  move_bias(layer, gate_options, world, std::vector<TensorView>(inputs.begin(), inputs.end()));
  std::vector<std::int64_t> of_expert_0;
  for (const int step : {0, 3, 5, 6}) {  // step 6 is step 0 of the next round
    for (const CheckItem& item :
         verify(layer, workload, world, *backend, pool, {.full = true, .step = step, .as_it_is = true}))
      EXPECT_TRUE(item.passed()) << "step " << step << ": " << item.name << " " << item.error;
    const auto& chosen = layer.routing().chosen;
    std::vector<std::int32_t> mine(chosen.size());
    backend->memory().copy_to_host(mine.data(), chosen.data(), chosen.size_bytes());
    const auto all = gather_all(world, mine);
    of_expert_0.push_back(std::count(all.begin(), all.end(), 0));
  }
  EXPECT_EQ(of_expert_0[0], 64);
  EXPECT_LT(of_expert_0[2], 56);
  EXPECT_EQ(of_expert_0[3], 64);
}

TEST(Ranks, ReceiveMoreRowsWithoutAllocatingOnceWarm) {
  World& world = world_under_test();
  const Shape shape{.tokens = 64,
                    .hidden = 8,
                    .ffn = 8,
                    .experts = 8,
                    .top_k = 2,
                    .ranks = world.size(),
                    .ep = world.size()};
  const auto backend = backend_under_test();
  Groups groups(world.make_comm(backend->memory(), backend->stream()), shape.ep);
  const Workload workload(shape, {}, 1);
  Layer layer(shape, groups, *backend, {});
  layer.load(workload);
  const std::int64_t tokens = shape.tokens_of(world.rank());
  Tensor x(backend->memory(), DType::fp32, tokens, 8), y(backend->memory(), DType::fp32, tokens, 8);
  std::uint64_t allocations = 0;
  NoTrace trace;
  for (int round = 0; round < 2; ++round) {
    if (round == 1) allocations = backend->memory().allocations();
    for (int step = 0; step < 5; ++step) {
      std::vector<float> host(static_cast<std::size_t>(tokens * 8));
      workload.input(step, shape.first_token(world.rank()), tokens, host);
      backend->upload(x, host);
      layer.forward(x, y, trace);
      layer.backward(x, y, y, trace);
    }
  }
  EXPECT_EQ(backend->memory().allocations(), allocations);
}

}  // namespace
}  // namespace moebench
