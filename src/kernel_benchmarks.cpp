// SPDX-License-Identifier: Apache-2.0
// moebench_kernels [--backend NAME]: each stage of the layer alone, under Google Benchmark, by the backend's own timestamps. For
// work on one kernel; the layer as a whole is what moebench measures.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string_view>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#if MOEBENCH_HAVE_CUDA
#include "backends/cuda/cuda_backend.h"
#endif
#include "base/error.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "comm/world.h"
#include "layer/layer.h"

namespace moebench {
namespace {

/// A layer on one rank, and the one stage of it that is timed.
class StageRun final : public Trace {
 public:
  StageRun(Backend& backend, const Shape& shape, const std::string& engine, Stage stage, Pass pass)
      : backend_(backend),
        stage_(stage),
        pass_(pass),
        groups_(world_->make_comm(backend.memory(), backend.stream()), 1),
        layer_(shape, groups_, backend, {.engine = engine}),
        timestamps_(backend.make_timestamps(2)) {
    layer_.load(Workload(shape, {}, 1));
    const auto tensor = [&] { return Tensor(backend.memory(), shape.dtype, shape.tokens, shape.hidden); };
    x_ = tensor(), y_ = tensor(), dy_ = tensor(), dx_ = tensor();
    backend.fill(x_, {1, 1.7f}, 0);
    backend.fill(dy_, {2, 1.7f}, 0);
  }
  /// Seconds the stage took within one iteration of the layer.
  double run() {
    const bool may_hold = !layer_.waits_for_device();  // else the device would wait for itself
    if (may_hold) backend_.hold();
    layer_.forward(x_, y_, *this);
    if (pass_ == Pass::backward) layer_.backward(x_, dy_, dx_, *this);
    if (may_hold) backend_.release();
    backend_.synchronize();
    return timestamps_->elapsed_us(0, 1) * 1e-6;
  }
  RankLoad load() const { return layer_.load(); }
  void begin(Stage stage, Pass pass) override {
    if (stage == stage_ && pass == pass_) timestamps_->record(0);
  }
  void end(Stage stage, Pass pass) override {
    if (stage == stage_ && pass == pass_) timestamps_->record(1);
  }

 private:
  Backend& backend_;
  Stage stage_;
  Pass pass_;
  std::unique_ptr<World> world_ = make_self_world();
  Groups groups_;
  Layer layer_;
  std::unique_ptr<Timestamps> timestamps_;
  Tensor x_, y_, dy_, dx_;
};

/// What a benchmark times beside the sizes.
struct Timed {
  Backend& backend;
  DType dtype;
  std::string engine;
  Stage stage;
  Pass pass;
};

void time_stage(benchmark::State& state, const Timed& timed) try {
  const auto& [backend, dtype, engine, stage, pass] = timed;
  const Shape shape{.tokens = state.range(0),
                    .hidden = state.range(1),
                    .ffn = 4 * state.range(1),
                    .experts = state.range(2),
                    .top_k = 2,
                    .dtype = dtype};
  StageRun stage_run(backend, shape, engine, stage, pass);
  stage_run.run();
  for (auto _ : state) state.SetIterationTime(stage_run.run());
  const StageCost cost = cost_of(shape, stage_run.load(), stage, pass);
  state.SetBytesProcessed(static_cast<std::int64_t>(cost.bytes) * state.iterations());
  if (cost.flops > 0)
    state.counters["FLOP/s"] = benchmark::Counter(cost.flops, benchmark::Counter::kIsIterationInvariantRate,
                                                  benchmark::Counter::kIs1000);
} catch (const Error& error) {
  state.SkipWithError(error.what());
}

// Fixed, because the whole layer runs for one stage's time: by time alone, a stage of 2 us would take minutes.
constexpr int kIterations = 30;

void add(const Timed& timed) {
  std::string name = cat(timed.backend.name(), "/", name_of(timed.dtype), "/", name_of(timed.pass), "/",
                         name_of(timed.stage));
  if (timed.stage == Stage::experts) name += "/" + timed.engine;
  auto* const benchmark = benchmark::RegisterBenchmark(
      name.c_str(), [timed](benchmark::State& state) { time_stage(state, timed); });
  benchmark->ArgNames({"tokens", "hidden", "experts"})
      ->UseManualTime()
      ->Iterations(kIterations)
      ->Unit(benchmark::kMicrosecond);
  const bool is_gpu = timed.backend.device().kind == "cuda";  // the paper's shape; a CPU gets a smaller one
  for (const int experts : {8, 64}) benchmark->Args({is_gpu ? 4096 : 512, is_gpu ? 1024 : 128, experts});
}

void add_all(Backend& backend) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    if (!backend.supports(dtype)) continue;
    for (const Stage stage : {Stage::gate, Stage::plan, Stage::pack, Stage::combine})
      add({backend, dtype, "loop", stage, Pass::forward});
    for (const Stage stage : {Stage::combine, Stage::pack, Stage::gate})
      add({backend, dtype, "loop", stage, Pass::backward});
    for (const std::string& engine : backend.engines())
      for (const Pass pass : {Pass::forward, Pass::backward})
        add({backend, dtype, engine, Stage::experts, pass});
  }
}

/// Takes "--backend NAME" or "--backend=NAME" out of the arguments; empty if it is not there.
std::string take_backend(int& argc, char** argv) {
  constexpr std::string_view kFlag = "--backend";
  std::string name;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == kFlag && i + 1 < argc)
      name = argv[++i];
    else if (word.starts_with(cat(kFlag, "=")))
      name = word.substr(kFlag.size() + 1);
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
  return name;
}

/// Those that work here, or the one that was asked for.
std::vector<std::unique_ptr<Backend>> open_backends(const std::string& wanted) {
  std::vector<std::string> names{"cpu"};
#if MOEBENCH_HAVE_CUDA
  names.insert(names.begin(), "cuda");
#endif
  if (!wanted.empty() && std::find(names.begin(), names.end(), wanted) == names.end())
    throw_unknown("backend", wanted, names);
  std::vector<std::unique_ptr<Backend>> backends;
#if MOEBENCH_HAVE_CUDA
  if (wanted == "cuda" || (wanted.empty() && why_no_cuda().empty())) backends.push_back(make_cuda_backend(0));
#endif
  if (wanted.empty() || wanted == "cpu") backends.push_back(make_cpu_backend(usable_cores()));
  return backends;
}

int run(int argc, char** argv) {
  const auto backends = open_backends(take_backend(argc, argv));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const auto& backend : backends) add_all(*backend);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace moebench

int main(int argc, char** argv) {
  try {
    return moebench::run(argc, argv);
  } catch (const moebench::Error& error) {
    std::cerr << "moebench_kernels: " << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
