// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/engines/engines.h"

#include <algorithm>

#include "backends/cuda/engines/expert_ffn.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {

/// Rows by expert, every set of products given to a runner.
class BatchedEngine final : public Engine {
 public:
  BatchedEngine(const EngineShape& shape, Gpu& gpu, std::unique_ptr<ExpertGemmRunner> runner)
      : gpu_(gpu), ffn_(gpu, shape), runner_(std::move(runner)) {}

  EngineTraits traits() const override { return kBatchedTraits; }
  void reserve(std::int64_t rows) override { ffn_.reserve(rows); }
  void forward(const ExpertsForward& args) override {
    blocks_ = args.host_offsets.empty() ? blocks_of(gpu_.read(args.offsets)) : blocks_of(args.host_offsets);
    ffn_.forward({blocks_, args.offsets.data()}, args.weights, args.x.data, args.out.data, *runner_);
  }
  void backward(const ExpertsBackward& args) override {
    ffn_.backward({blocks_, args.forward.offsets.data()}, args.forward.weights, args.forward.x.data,
                  args.dout.data, args.dx.data, args.gradients, false, *runner_);
  }

 private:
  Gpu& gpu_;
  ExpertFfn ffn_;
  std::unique_ptr<ExpertGemmRunner> runner_;
  std::vector<RowBlock> blocks_;  ///< one per expert, from the last forward pass
};

std::unique_ptr<Engine> make_loop(const EngineShape& shape, Gpu& gpu) {
  return make_batched_engine(shape, gpu, make_series_runner(gpu));
}

std::unique_ptr<Engine> make_streams(const EngineShape& shape, Gpu& gpu) {
  const std::int64_t streams = std::clamp<std::int64_t>(shape.streams, 1, shape.experts);
  return make_batched_engine(shape, gpu, make_stream_runner(gpu, static_cast<int>(streams)));
}

/// The library's grouped product reads 16 bytes at a time.
std::string why_not_cublas_grouped(const EngineShape& shape) {
  const auto wide = static_cast<std::int64_t>(16 / size_of(shape.dtype));
  if (shape.hidden % wide == 0 && shape.ffn % wide == 0) return {};
  return cat("engine cublas-grouped needs hidden and ffn divisible by ", wide, " in ", name_of(shape.dtype),
             ", but they are ", shape.hidden, " and ", shape.ffn);
}

std::unique_ptr<Engine> make_cublas_grouped(const EngineShape& shape, Gpu& gpu) {
  return make_batched_engine(shape, gpu, make_cublas_grouped_runner(gpu, 3 * shape.experts));
}

std::string any_shape(const EngineShape&) { return {}; }
EngineTraits batched(const EngineShape&) { return kBatchedTraits; }
EngineTraits naive(const EngineShape&) { return kNaiveTraits; }

struct Entry {
  std::string_view name;
  std::unique_ptr<Engine> (*make)(const EngineShape&, Gpu&);
  std::string (*why_not)(const EngineShape&);
  EngineTraits (*traits)(const EngineShape&);
};
constexpr Entry kEngines[] = {
    {"grouped", make_grouped_engine, any_shape, grouped_traits},
    {"loop", make_loop, any_shape, batched},
    {"streams", make_streams, any_shape, batched},
    {"cublas-grouped", make_cublas_grouped, why_not_cublas_grouped, batched},
    {"naive-sample", make_sample_engine, any_shape, naive},
    {"naive-mask", make_mask_engine, any_shape, naive},
    {"naive-rau", make_rau_engine, any_shape, naive},
};

const Entry& find(std::string_view name) {
  for (const Entry& entry : kEngines)
    if (entry.name == name) return entry;
  throw_unknown("engine", name, engine_names());
}

constexpr std::int64_t kFewRows = 1536, kShortSums = 2048;  // of best_engine(): rows per expert, hidden

}  // namespace

std::unique_ptr<Engine> make_batched_engine(const EngineShape& shape, Gpu& gpu,
                                            std::unique_ptr<ExpertGemmRunner> runner) {
  return std::make_unique<BatchedEngine>(shape, gpu, std::move(runner));
}

std::vector<std::string> engine_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kEngines) names.emplace_back(entry.name);
  return names;
}

std::string best_engine(const Shape& shape) {
  const bool few = shape.tokens * shape.top_k <= kFewRows * shape.experts || shape.hidden <= kShortSums;
  return size_of(shape.dtype) == 2 && few ? "grouped" : "streams";
}

std::string best_engine_rule() {
  return cat("grouped in bf16 and fp16 up to ", kFewRows, " rows per expert or hidden ", kShortSums,
             ", else streams");
}

EngineTraits engine_traits(std::string_view name, const EngineShape& shape) {
  for (const Entry& entry : kEngines)
    if (entry.name == name) return entry.traits(shape);
  return {};
}

std::string why_not(std::string_view name, const EngineShape& shape) { return find(name).why_not(shape); }

std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape, Gpu& gpu) {
  const Entry& engine = find(name);
  if (const std::string why = engine.why_not(shape); !why.empty()) throw UsageError(why);
  return engine.make(shape, gpu);
}

}  // namespace moebench::cuda
