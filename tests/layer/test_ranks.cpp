// SPDX-License-Identifier: Apache-2.0
// The same tokens and weights on one rank and on all of them: outputs and every gradient must agree. Under mpirun.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#if MOEBENCH_RANKS_ON_CUDA
#include "backends/cuda/cuda_backend.h"
#else
#include "backends/cpu/cpu_backend.h"
#endif
#include "layer/difference.h"
#include "layer/dropping_gate.h"
#include "layer/verify.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

std::unique_ptr<Backend> make_backend() {
#if MOEBENCH_RANKS_ON_CUDA
  return make_cuda_backend(world_under_test().local_rank());
#else
  return make_cpu_backend(1);
#endif
}

/// What a step produced over all tokens and experts, by name.
using Results = std::map<std::string, std::vector<float>>;

std::vector<float> download(Backend& backend, const TensorView& tensor) {
  std::vector<float> host(static_cast<std::size_t>(tensor.size()));
  backend.download(host, tensor);
  return host;
}

/// Runs one step on the ranks of `world`. Gradients of experts come from the first expert-parallel group; `replicas_agree`
/// says whether the others hold the same.
Results run(Shape shape, int ep, const LayerOptions& options, RoutingDistribution routing, World& world,
            bool& replicas_agree) {
  shape.ranks = world.size();
  shape.ep = ep;
  const auto backend = make_backend();
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
  layer.forward(x, y, trace);
  layer.backward(x, dy, dx, trace);
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

struct Named {
  const char* name;
  Shape shape;
  RoutingDistribution routing = {};
  std::string engine = "loop";
  Exchange exchange = Exchange::fused;
  Overlap overlap = Overlap::none;
  const GateEntry* gate = &default_gate();
};

const Named kCases[] = {
    {"even", {.tokens = 32, .hidden = 16, .ffn = 24, .experts = 8, .top_k = 2}},
    {"uneven_tokens_and_bias",
     {.tokens = 37, .hidden = 17, .ffn = 9, .experts = 4, .top_k = 3, .bias = true}},
    {"swiglu",
     {.tokens = 30, .hidden = 16, .ffn = 24, .experts = 8, .top_k = 2, .activation = Activation::swiglu}},
    {"ranks_without_tokens", {.tokens = 2, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 1}},
    {"no_tokens_at_all", {.tokens = 0, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 1}},
    {"all_to_one", {.tokens = 21, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1}, parse_routing("one")},
    {"zipf", {.tokens = 101, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2}, parse_routing("zipf:2")},
    {"every_expert", {.tokens = 19, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 4}},
    {"naive_mask", {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2}, {}, "naive-mask"},
    {"naive_rau", {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2}, {}, "naive-rau"},
    {"naive_sample", {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2}, {}, "naive-sample"},
    {"per_expert",
     {.tokens = 33, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::per_expert},
    {"direct",
     {.tokens = 33, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::direct},
    {"direct_bias_swiglu",
     {.tokens = 37,
      .hidden = 17,
      .ffn = 9,
      .experts = 8,
      .top_k = 2,
      .activation = Activation::swiglu,
      .bias = true},
     {},
     "loop",
     Exchange::direct},
    {"direct_zipf",
     {.tokens = 101, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     parse_routing("zipf:2"),
     "loop",
     Exchange::direct},
    {"direct_all_to_one",
     {.tokens = 21, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1},
     parse_routing("one"),
     "loop",
     Exchange::direct},
    {"direct_ranks_without_tokens",
     {.tokens = 2, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 1},
     {},
     "loop",
     Exchange::direct},
    {"direct_every_expert",
     {.tokens = 19, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 4},
     {},
     "loop",
     Exchange::direct},
    {"direct_no_tokens_at_all",
     {.tokens = 0, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 1},
     {},
     "loop",
     Exchange::direct},
    {"peer",
     {.tokens = 33, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::direct,
     Overlap::peer},
    {"wgrad_bias_swiglu",
     {.tokens = 37,
      .hidden = 17,
      .ffn = 9,
      .experts = 8,
      .top_k = 2,
      .activation = Activation::swiglu,
      .bias = true},
     {},
     "loop",
     Exchange::direct,
     Overlap::wgrad},
    {"peer_bias_swiglu",
     {.tokens = 37,
      .hidden = 17,
      .ffn = 9,
      .experts = 8,
      .top_k = 2,
      .activation = Activation::swiglu,
      .bias = true},
     {},
     "loop",
     Exchange::direct,
     Overlap::peer},
    {"wgrad_zipf",
     {.tokens = 101, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     parse_routing("zipf:2"),
     "loop",
     Exchange::direct,
     Overlap::wgrad},
    {"peer_zipf",
     {.tokens = 101, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     parse_routing("zipf:2"),
     "loop",
     Exchange::direct,
     Overlap::peer},
    {"peer_all_to_one",
     {.tokens = 21, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1},
     parse_routing("one"),
     "loop",
     Exchange::direct,
     Overlap::peer},
    {"peer_ranks_without_tokens",
     {.tokens = 2, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 1},
     {},
     "loop",
     Exchange::direct,
     Overlap::peer},
    {"peer_every_expert",
     {.tokens = 19, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 4},
     {},
     "loop",
     Exchange::direct,
     Overlap::peer},
    {"peer_no_tokens_at_all",
     {.tokens = 0, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 1},
     {},
     "loop",
     Exchange::direct,
     Overlap::peer},
    {"per_expert_zipf",
     {.tokens = 50, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 1},
     parse_routing("zipf:3"),
     "loop",
     Exchange::per_expert},
    {"dropped",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3, .bias = true},
     {},
     "loop",
     Exchange::fused,
     Overlap::none,
     &kDroppingGate},
    {"dropped_per_expert",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 2},
     {},
     "loop",
     Exchange::per_expert,
     Overlap::none,
     &kDroppingGate},
    {"dropped_naive_sample",
     {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2},
     {},
     "naive-sample",
     Exchange::fused,
     Overlap::none,
     &kDroppingGate},
    {"dropped_naive_rau",
     {.tokens = 29, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 2},
     {},
     "naive-rau",
     Exchange::fused,
     Overlap::none,
     &kDroppingGate},
    {"dropped_direct",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3, .bias = true},
     {},
     "loop",
     Exchange::direct,
     Overlap::none,
     &kDroppingGate},
    {"dropped_direct_all_to_one",
     {.tokens = 21, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1},
     parse_routing("one"),
     "loop",
     Exchange::direct,
     Overlap::none,
     &kDroppingGate},
    {"dropped_ranks_with_one_token",  // all slots of token 0 are dropped
     {.tokens = 2, .hidden = 8, .ffn = 8, .experts = 8, .top_k = 1},
     {},
     "loop",
     Exchange::direct,
     Overlap::none,
     &kDroppingGate},
    {"dropped_peer",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::direct,
     Overlap::peer,
     &kDroppingGate},
    {"softmax_topk",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 3},
     {},
     "loop",
     Exchange::fused,
     Overlap::none,
     &find_gate("softmax-topk")},
    {"softmax_topk_direct",
     {.tokens = 37, .hidden = 16, .ffn = 8, .experts = 8, .top_k = 1},
     {},
     "loop",
     Exchange::direct,
     Overlap::none,
     &find_gate("softmax-topk")},
};

class Ranks : public testing::TestWithParam<Named> {};

TEST_P(Ranks, AgreeWithOneRankInOutputsAndGradients) {
  const auto& [name, shape, routing, engine, exchange, overlap, gate] = GetParam();
  const LayerOptions options{.engine = engine, .exchange = exchange, .overlap = overlap, .gate = gate};
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
      Difference difference;
      for (std::size_t i = 0; i < values.size(); ++i) difference.add(found.at(what)[i], values[i]);
      EXPECT_LE(difference.relative(), error_bound(DType::fp32)) << what << ", ep " << ep;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layer, Ranks, testing::ValuesIn(kCases),
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
    const auto backend = make_backend();
    ThreadPool pool(1);
    Groups groups(world.make_comm(backend->memory(), backend->stream()), ep);
    Layer layer(shape, groups, *backend, {});
    for (const CheckItem& item : verify(layer, Workload(shape, {}, 1), world, *backend, pool, {.full = true}))
      EXPECT_TRUE(item.passed()) << item.name << " " << item.error << ", ep " << ep;
  }
}

TEST(RanksAndOracle, AgreeForEveryGateAndExchange) {
  World& world = world_under_test();
  std::vector<const GateEntry*> all(gates().begin(), gates().end());
  all.push_back(&kDroppingGate);
  for (const GateEntry* gate : all)
    for (const Exchange exchange : {Exchange::fused, Exchange::per_expert, Exchange::direct})
      for (const bool full : {true, false}) {
        const Shape shape{.tokens = 41,
                          .hidden = 12,
                          .ffn = 20,
                          .experts = 8,
                          .top_k = 2,
                          .ranks = world.size(),
                          .ep = world.size(),
                          .bias = true};
        const auto backend = make_backend();
        ThreadPool pool(1);
        Groups groups(world.make_comm(backend->memory(), backend->stream()), shape.ep);
        Layer layer(shape, groups, *backend, {.exchange = exchange, .gate = gate});
        VerifyOptions options{.full = full};
        if (!full) options.second_way_to = "loop";
        for (const CheckItem& item : verify(layer, Workload(shape, {}, 1), world, *backend, pool, options))
          EXPECT_TRUE(item.passed()) << gate->name << ", " << name_of(exchange) << ": " << item.name << " "
                                     << item.error << " at " << item.where;
      }
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
  const auto backend = make_backend();
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
