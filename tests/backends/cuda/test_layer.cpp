// SPDX-License-Identifier: Apache-2.0
// The whole layer on a GPU against the oracle: every engine, every number format, ordinary and hostile
// shapes.
#include <algorithm>

#include "backends/cuda/on_gpu.h"
#include "comm/world.h"
#include "layer/cases.h"
#include "layer/gate_cases.h"
#include "layer/verify.h"

namespace moebench {
namespace {

Shape with_slots(Shape shape, const GateEntry& gate) {
  shape.slots = slots_of(gate, shape);
  return shape;
}

/// A layer on the one rank of a self world.
struct Rig {
  Rig(Backend& gpu, const Shape& shape, const std::string& engine, RoutingDistribution routing = {},
      const GateEntry* gate = &default_gate(), const GateOptions& gate_options = {})
      : backend(gpu),
        world(make_self_world()),
        groups(world->make_comm(gpu.memory(), gpu.stream()), 1),
        workload(with_slots(shape, *gate), routing, 1),
        layer(workload.shape(), groups, gpu, {.engine = engine, .gate = gate, .gate_options = gate_options}) {
  }

  std::vector<CheckItem> verify_all() {
    return verify(layer, workload, *world, backend, pool, {.full = true});
  }

  Backend& backend;
  std::unique_ptr<World> world;
  ThreadPool pool{2};
  Groups groups;
  Workload workload;
  Layer layer;
};

/// cuBLAS's grouped kernels take matrices aligned to 16 bytes only; the engine says so.
bool is_refused(const std::string& engine, const Shape& shape) {
  const auto wide = static_cast<std::int64_t>(16 / size_of(shape.dtype));
  return engine == "cublas-grouped" && (shape.hidden % wide != 0 || shape.ffn % wide != 0);
}

using EngineAndFormat = std::tuple<std::string, DType>;

class EveryEngine : public OnGpu, public testing::WithParamInterface<EngineAndFormat> {
 protected:
  Shape in_format(Shape shape) const {
    shape.dtype = std::get<1>(GetParam());
    return shape;
  }
  const std::string& engine() const { return std::get<0>(GetParam()); }
};

TEST_P(EveryEngine, AgreesWithTheOracleInEveryOutputAndGradient) {
  for (const NamedCase& named : kLayerCases) {
    const Shape shape = in_format(named.shape);
    SCOPED_TRACE(named.name);
    // With one term per sum, one rounding to 16 bits is all of the error, and the softmax's differences
    // magnify it.
    if (shape.hidden == 1 && size_of(shape.dtype) == 2) continue;
    if (is_refused(engine(), shape)) {
      EXPECT_THROW(Rig(*gpu_, shape, engine(), named.routing), UsageError);
      continue;
    }
    Rig rig(*gpu_, shape, engine(), named.routing);
    const auto items = rig.verify_all();
    EXPECT_EQ(items.size(), items_of(shape));
    for (const CheckItem& item : items)
      EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
  }
}

TEST_P(EveryEngine, AgreesWithTheOracleForEveryGateAndDroppedSlots) {
  const Shape wide{.tokens = 300, .hidden = 256, .ffn = 512, .experts = 16, .top_k = 4};
  for (const Shape& some :
       {wide, with(wide, [](Shape& s) { s.bias = true; }), with(wide, [](Shape& s) { s.fp32_router = true; }),
        with(wide, [](Shape& s) { s.activation = Activation::swiglu; }),
        with(wide, [](Shape& s) { s.tokens = 41, s.top_k = 1; })})
    for (const GateCase& gate : gate_cases()) {
      const Shape shape = gate.fitted(in_format(some));
      if (is_refused(engine(), shape) || !gate.knows(shape)) continue;
      SCOPED_TRACE(cat(gate.name, ", top-k ", shape.top_k, ", ", name_of(shape.activation),
                       shape.bias ? ", biases" : ""));
      Rig rig(*gpu_, shape, engine(), {}, gate.gate, gate.options);
      for (const CheckItem& item : rig.verify_all())
        EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
    }
}

TEST_P(EveryEngine, AgreesWithTheOracleUnderACapacity) {
  const Shape wide{.tokens = 300, .hidden = 256, .ffn = 512, .experts = 16, .top_k = 4};
  for (const GateCase& gate : gate_cases())
    for (const DropPolicy policy :
         {DropPolicy::position, DropPolicy::probs, DropPolicy::choice, DropPolicy::priority}) {
      const Shape shape = gate.fitted(in_format(wide));
      if (is_refused(engine(), shape) || !gate.knows(shape) || gate.gate == &kDroppingGate) continue;
      SCOPED_TRACE(cat(gate.name, ", ", name_of(policy)));
      GateOptions options = gate.options;
      options.capacity = {.factor = 0.9, .policy = policy, .group = 100};
      if (!gate.gate->why_not(shape, options).empty()) continue;
      Rig rig(*gpu_, shape, engine(), {}, gate.gate, options);
      for (const CheckItem& item : rig.verify_all())
        EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
      EXPECT_GT(rig.layer.drops().dropped, 0);
    }
}

TEST_P(EveryEngine, AgreesWithTheOracleWithLossesOverGroups) {
  const Shape shape = in_format({.tokens = 300, .hidden = 256, .ffn = 512, .experts = 16, .top_k = 4});
  if (is_refused(engine(), shape)) GTEST_SKIP();
  for (const char* gate : {"topk", "softmax-topk", "sigmoid", "sqrtsoftplus"})
    for (const LossOptions& losses :
         {LossOptions{.aux = 20}, {.aux = 20, .sequence = 50, .z = 5}, {.z = 5}}) {
      SCOPED_TRACE(cat(gate, ", aux ", losses.aux, " over ", losses.sequence, ", z ", losses.z));
      Rig rig(*gpu_, shape, engine(), {}, &find_gate(gate), {.losses = losses});
      for (const CheckItem& item : rig.verify_all())
        EXPECT_TRUE(item.passed()) << item.name << " error " << item.error << " bound " << item.bound;
    }
}

/// y, dx and all gradients of one step, as stored.
std::vector<float> step(Backend& gpu, Rig& rig, const Shape& shape) {
  const Tensor x(gpu.memory(), shape.dtype, shape.tokens, shape.hidden),
      dy(gpu.memory(), shape.dtype, shape.tokens, shape.hidden),
      y(gpu.memory(), shape.dtype, shape.tokens, shape.hidden),
      dx(gpu.memory(), shape.dtype, shape.tokens, shape.hidden);
  gpu.fill(x, {7, 1.0f}, 0);
  gpu.fill(dy, {8, 1.0f}, 0);
  NoTrace trace;
  rig.layer.forward(x, y, trace);
  rig.layer.backward(x, dy, dx, trace);
  std::vector<float> all = host(gpu, y);
  const auto append = [&](const TensorView& tensor) {
    const auto values = host(gpu, tensor);
    all.insert(all.end(), values.begin(), values.end());
  };
  append(dx);
  for (const ParameterTensors& parameter : rig.layer.parameters().all()) append(parameter.gradient);
  return all;
}

TEST_P(EveryEngine, GivesTheSameBitsTenTimes) {
  const Shape shape =
      in_format({.tokens = 500, .hidden = 128, .ffn = 256, .experts = 8, .top_k = 2, .bias = true});
  if (is_refused(engine(), shape))
    GTEST_SKIP() << "engine " << engine() << " does not compute in " << name_of(shape.dtype);
  Rig rig(*gpu_, shape, engine());
  rig.layer.load(rig.workload);
  const auto first = step(*gpu_, rig, shape);
  for (int run = 1; run < 10; ++run) ASSERT_TRUE(step(*gpu_, rig, shape) == first) << "run " << run;
}

TEST_P(EveryEngine, AllocatesNothingAfterTheFirstStep) {
  const Shape shape = in_format(with(kSmall, [](Shape& s) { s.hidden = 32; }));
  if (is_refused(engine(), shape))
    GTEST_SKIP() << "engine " << engine() << " does not compute in " << name_of(shape.dtype);
  Rig rig(*gpu_, shape, engine());
  rig.verify_all();
  const Tensor x(gpu_->memory(), shape.dtype, shape.tokens, shape.hidden),
      y(gpu_->memory(), shape.dtype, shape.tokens, shape.hidden);
  gpu_->fill(x, {7, 1.0f}, 0);
  NoTrace trace;
  const auto before = gpu_->memory().allocations();
  rig.layer.forward(x, y, trace);
  rig.layer.backward(x, y, y, trace);
  EXPECT_EQ(gpu_->memory().allocations(), before);
}

INSTANTIATE_TEST_SUITE_P(Cuda, EveryEngine,
                         testing::Combine(testing::ValuesIn(cuda_capabilities().engines()),
                                          testing::ValuesIn(kDTypes)),
                         [](const auto& test) {
                           std::string name =
                               cat(std::get<0>(test.param), "_", name_of(std::get<1>(test.param)));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class TwoEngines : public InEveryFormat {};

TEST_P(TwoEngines, LoopAndStreamsGiveTheSameBits) {
  Shape shape{.tokens = 700,
              .hidden = 128,
              .ffn = 256,
              .experts = 20,
              .top_k = 2,
              .activation = Activation::swiglu,
              .bias = true};
  shape.dtype = dtype();
  std::vector<std::vector<float>> results;
  for (const char* engine : {"loop", "streams"}) {
    Rig rig(*gpu_, shape, engine);
    rig.layer.load(rig.workload);
    results.push_back(step(*gpu_, rig, shape));
  }
  EXPECT_TRUE(results[0] == results[1]);
}

INSTANTIATE_TEST_SUITE_P(Cuda, TwoEngines, testing::ValuesIn(kDTypes), format_name);

class LayerOnGpu : public OnGpu {};

TEST_F(LayerOnGpu, HoldsAtThePapersShape) {
  Shape shape{.tokens = 4096, .hidden = 1024, .ffn = 4096, .experts = 8, .top_k = 2};
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    shape.dtype = dtype;
    for (const char* engine : {"loop", "streams", "cublas-grouped", "naive-mask", "naive-rau", "grouped"}) {
      if (is_refused(engine, shape)) continue;
      Rig rig(*gpu_, shape, engine);
      for (const CheckItem& item :
           verify(rig.layer, rig.workload, *rig.world, *gpu_, rig.pool, {.full = false}))
        EXPECT_TRUE(item.passed()) << engine << " " << name_of(dtype) << " " << item.name << " error "
                                   << item.error << " bound " << item.bound;
    }
  }
}

TEST_F(LayerOnGpu, RefusesAnEngineItDoesNotHave) { EXPECT_THROW(Rig(*gpu_, kSmall, "lop"), UsageError); }

}  // namespace
}  // namespace moebench
