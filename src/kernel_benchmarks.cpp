// SPDX-License-Identifier: Apache-2.0
// moebench_kernels: each stage of the layer alone, under Google Benchmark. For work on one kernel; the layer as a whole
// is what moebench measures.
#include <benchmark/benchmark.h>

#include <memory>

#include "backends/cpu/cpu_backend.h"
#include "base/thread_pool.h"
#include "comm/world.h"
#include "layer/layer.h"

namespace moebench {
namespace {

/// A layer on one rank, and the one stage of it that is timed.
class StageAlone final : public Trace {
 public:
  StageAlone(Backend& backend, const Shape& shape, const std::string& engine, Stage stage, Pass pass)
      : backend_(backend), stage_(stage), pass_(pass), groups_(world_->make_comm(backend.memory(), backend.stream()), 1),
        layer_(shape, groups_, backend, {.engine = engine}), marks_(backend.make_marks(2)) {
    layer_.load(Workload(shape, {}, 1));
    const auto tensor = [&] { return Tensor(backend.memory(), shape.dtype, shape.tokens, shape.hidden); };
    x_ = tensor(), y_ = tensor(), dy_ = tensor(), dx_ = tensor();
    backend.fill(x_, {1, 1.7f}, 0);
    backend.fill(dy_, {2, 1.7f}, 0);
  }
  /// Seconds the stage took within one iteration of the layer.
  double run() {
    layer_.forward(x_, y_, *this);
    if (pass_ == Pass::backward) layer_.backward(x_, dy_, dx_, *this);
    backend_.synchronize();
    return marks_->elapsed_us(0, 1) * 1e-6;
  }
  RankLoad load() const { return layer_.load(); }
  void begin(Stage stage, Pass pass) override {
    if (stage == stage_ && pass == pass_) marks_->record(0);
  }
  void end(Stage stage, Pass pass) override {
    if (stage == stage_ && pass == pass_) marks_->record(1);
  }

 private:
  Backend& backend_;
  Stage stage_;
  Pass pass_;
  std::unique_ptr<World> world_ = make_self_world();
  Groups groups_;
  Layer layer_;
  std::unique_ptr<Marks> marks_;
  Tensor x_, y_, dy_, dx_;
};

void time_stage(benchmark::State& state, Backend& backend, const std::string& engine, Stage stage, Pass pass) {
  const Shape shape{.tokens = state.range(0), .hidden = state.range(1), .ffn = 4 * state.range(1), .experts = state.range(2), .top_k = 2};
  StageAlone alone(backend, shape, engine, stage, pass);
  alone.run();
  for (auto _ : state) state.SetIterationTime(alone.run());
  const StageCost cost = cost_of(shape, alone.load(), stage, pass);
  state.SetBytesProcessed(static_cast<std::int64_t>(cost.bytes) * state.iterations());
  if (cost.flops > 0)
    state.counters["FLOP/s"] = benchmark::Counter(cost.flops, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

// Fixed, because the whole layer runs for one stage's time: by time alone, a stage of 2 us would take minutes.
constexpr int kIterations = 30;

void add(Backend& backend, const std::string& engine, Stage stage, Pass pass) {
  std::string name = std::string(backend.name()) + "/" + std::string(name_of(pass)) + "/" + std::string(name_of(stage));
  if (stage == Stage::experts) name += "/" + engine;
  benchmark::RegisterBenchmark(name.c_str(), [&backend, engine, stage, pass](benchmark::State& state) { time_stage(state, backend, engine, stage, pass); })
      ->ArgNames({"tokens", "hidden", "experts"})->Args({512, 128, 8})->Args({512, 128, 64})
      ->UseManualTime()->Iterations(kIterations)->Unit(benchmark::kMicrosecond);
}

void add_all(Backend& backend) {
  for (const Stage stage : {Stage::gate, Stage::plan, Stage::pack, Stage::combine}) add(backend, "loop", stage, Pass::forward);
  for (const Stage stage : {Stage::combine, Stage::pack, Stage::gate}) add(backend, "loop", stage, Pass::backward);
  for (const std::string& engine : backend.engines())
    for (const Pass pass : {Pass::forward, Pass::backward}) add(backend, engine, Stage::experts, pass);
}

}  // namespace
}  // namespace moebench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const auto cpu = moebench::make_cpu_backend(moebench::usable_cores());
  moebench::add_all(*cpu);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
