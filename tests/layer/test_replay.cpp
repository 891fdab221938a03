// SPDX-License-Identifier: Apache-2.0
// Routings that are put in the place of what a gate chose: through every gate and engine, with their gradients.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/text.h"
#include "layer/case_on_one_rank.h"
#include "layer/cases.h"

namespace moebench {
namespace {

/// More experts than hidden: nothing could be planted.
const Shape kWide{.tokens = 37, .hidden = 12, .ffn = 20, .experts = 24, .top_k = 3};
constexpr int kSteps = 3;

struct Replayed {
  Replayed(const Shape& shape, const std::string& engine, const GateEntry& gate,
           const std::string& word = "W1", int other_step = 0)
      : world(make_self_world()),
        backend(make_cpu_backend(2)),
        pool(2),
        groups(world->make_comm(backend->memory(), backend->stream()), 1),
        workload(shape, parse_routing(word), 5, {.planted = false}),
        layer(shape, groups, *backend, {.engine = engine, .gate = &gate, .replays = true}) {
    layer.load(workload);
    std::vector<float> host(static_cast<std::size_t>(shape.tokens * shape.hidden));
    const Tensor x(backend->memory(), shape.dtype, shape.tokens, shape.hidden);
    for (int step = 0; step < kSteps; ++step) {
      workload.input(step, 0, shape.tokens, host);
      backend->upload(x, host);
      std::vector<std::int32_t> experts;
      for (std::int64_t t = 0; t < shape.tokens; ++t)
        for (const std::int64_t e : workload.target_experts(step + other_step, t))
          experts.push_back(static_cast<std::int32_t>(e));
      layer.prepare_replay(step, x, experts);
    }
  }
  std::vector<CheckItem> verify_all(int step) {
    return verify(layer, workload, *world, *backend, pool,
                  {.full = true, .step = step, .second_way_to = "loop"});
  }

  std::unique_ptr<World> world;
  std::unique_ptr<Backend> backend;
  ThreadPool pool;
  Groups groups;
  Workload workload;
  Layer layer;
};

TEST(Replay, AgreesWithTheOracleUnderEveryGateInEveryEngine) {
  for (const GateEntry* gate : gates())
    for (const std::string& engine : make_cpu_backend(1)->engines()) {
      const bool by_chance = gate->ignores_input || gate->second_by_chance || gate->name == "noisy-topk";
      if (by_chance || gate->capacity != "none" || !gate->why_not(kWide, {}).empty()) continue;
      Replayed rig(kWide, engine, *gate);
      for (const int step : {0, 2})
        for (const CheckItem& item : rig.verify_all(step))
          EXPECT_TRUE(item.passed() || !item.why_not.empty())
              << gate->name << ", " << engine << ", step " << step << ": " << item.name << " error "
              << item.error;
    }
}

TEST(Replay, RoutesAsItWasToldInEachStep) {
  Replayed rig(kWide, "loop", default_gate());
  for (const int step : {1, 0, 2}) {
    rig.verify_all(step);
    for (std::int64_t t = 0; t < kWide.tokens; ++t) {
      const auto target = rig.workload.target_experts(step, t);
      EXPECT_TRUE(std::equal(target.begin(), target.end(), &rig.layer.routing().expert_of[t * kWide.top_k]));
    }
  }
}

TEST(Replay, OfAnotherRoutingThanTheWorkloadsIsFound) {
  Replayed rig(kWide, "loop", default_gate(), "W1", 1);
  const auto items = rig.verify_all(0);
  ASSERT_EQ(items.front().name, "gate");
  EXPECT_FALSE(items.front().passed());
}

/// What a gate computes from planted inputs and what is replayed over the same gate have the same rows.
TEST(Replay, HasTheRowsThatPlantingHas) {
  CaseOnOneRank planted(kSmall, "loop", parse_routing("zipf:1.5"), 5);
  planted.verify_all();
  Replayed replayed(kSmall, "loop", default_gate(), "zipf:1.5");
  replayed.verify_all(0);
  EXPECT_EQ(planted.layer.rows_of_experts(), replayed.layer.rows_of_experts());
}

}  // namespace
}  // namespace moebench
