// SPDX-License-Identifier: Apache-2.0
// NumPy arrays. Experts: [tokens, layers, K], what rollout-routing replay returns (SGLang `return_routed_experts`, vLLM
// `enable_return_routed_experts`); one step. Counts: [layers, E] (EPLB's load) or [steps, layers, E] (`logical_count` of
// SGLang's expert-distribution recorder).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "trace/npy.h"
#include "trace/output_file.h"
#include "trace/trace_reader.h"

namespace moebench {
namespace {

class ExpertsReader final : public TraceReader {
 public:
  ExpertsReader(std::unique_ptr<ByteSource> source, NpyArray array)
      : source_(std::move(source)), array_(std::move(array)) {
    const auto& [tokens, layers, k] = std::tie(array_.shape[0], array_.shape[1], array_.shape[2]);
    if (array_.type[1] == 'f')
      source_->refuse(10, "experts are real numbers; give @as=counts if they are loads");
    if (k < 1 || k > kMostTraceTopK || tokens > kMostTraceSlots / k)
      source_->refuse(10, cat("[", tokens, ", ", layers, ", ", k, "] is not [tokens, layers, k] of at most ",
                              kMostTraceSlots, " slots"));
    info_ = {"npy experts", 0, k};
  }
  const TraceInfo& info() const override { return info_; }
  std::string sha256() const override { return source_->sha256(); }

  bool next(TraceStep& step, const WantStep& want) override {
    while (layer_ < array_.shape[1]) {
      const std::int64_t layer = layer_++;
      if (!want(0, layer)) continue;
      read(layer, step);
      return true;
    }
    return false;
  }

 private:
  /// Whole rows of the array, some at a time, of which only one layer is kept.
  void read(std::int64_t layer, TraceStep& step) const {
    const std::int64_t tokens = array_.shape[0], layers = array_.shape[1], k = info_.top_k;
    step = {.step = 0, .layer = layer, .tokens = tokens};
    step.experts.reserve(static_cast<std::size_t>(tokens * k));
    const std::int64_t at_once = std::max<std::int64_t>(1, (std::int64_t{1} << 16) / (layers * k));
    for (std::int64_t first = 0; first < tokens; first += at_once) {
      const std::int64_t now = std::min(at_once, tokens - first);
      // From this layer of the first token to this layer of the last: all that lies between is read.
      const std::int64_t count = (now - 1) * layers * k + k;
      const auto values =
          npy_values(*source_, array_, static_cast<std::uint64_t>((first * layers + layer) * k),
                     static_cast<std::uint64_t>(count));
      for (std::int64_t t = 0; t < now; ++t)
        for (std::int64_t j = 0; j < k; ++j) {
          const double expert = values[static_cast<std::size_t>(t * layers * k + j)];
          step.experts.push_back(expert >= 0 && expert < kMostTraceExperts ? static_cast<std::int32_t>(expert)
                                                                           : -1);
        }
    }
    require_lawful(*source_, array_.begin, step, info_);
  }

  std::unique_ptr<ByteSource> source_;
  NpyArray array_;
  TraceInfo info_;
  std::int64_t layer_ = 0;
};

class CountsReader final : public TraceReader {
 public:
  CountsReader(std::unique_ptr<ByteSource> source, NpyArray array)
      : source_(std::move(source)), array_(std::move(array)) {
    const std::int64_t experts = array_.shape.back();
    if (experts < 1 || experts > kMostTraceExperts)
      source_->refuse(10, cat(experts, " experts; valid: 1 to ", kMostTraceExperts));
    layers_ = array_.shape[array_.shape.size() - 2];
    steps_ = array_.shape.size() == 3 ? array_.shape[0] : 1;
    info_ = {"npy counts", experts, 0};
  }
  const TraceInfo& info() const override { return info_; }
  std::string sha256() const override { return source_->sha256(); }

  bool next(TraceStep& step, const WantStep& want) override {
    while (layers_ > 0 && at_ < steps_ * layers_) {
      const std::int64_t place = at_++;
      if (!want(place / layers_, place % layers_)) continue;
      step = {.step = place / layers_, .layer = place % layers_};
      const auto experts = static_cast<std::uint64_t>(info_.experts);
      const std::uint64_t first = static_cast<std::uint64_t>(place) * experts;
      for (const double count : npy_values(*source_, array_, first, experts)) {
        if (!(count >= 0 && count <= static_cast<double>(kMostTraceSlots)))
          source_->refuse(array_.begin + first * array_.element_bytes(), cat("a count of ", count));
        step.counts.push_back(std::llround(count));
      }
      return true;
    }
    return false;
  }

 private:
  std::unique_ptr<ByteSource> source_;
  NpyArray array_;
  TraceInfo info_;
  std::int64_t layers_ = 0, steps_ = 0, at_ = 0;
};

/// All layers of one step: the array has a token's layers side by side.
class ExpertsWriter final : public TraceWriter {
 public:
  ExpertsWriter(const std::string& path, const TraceInfo& info)
      : path_(path), file_(path), top_k_(info.top_k) {}

  void add(const TraceStep& step) override {
    if (step.experts.empty()) throw UsageError(cat(path_, ": an array of experts cannot hold counts"));
    if (!layers_.empty() && (step.step != step_ || step.tokens != tokens_))
      throw UsageError(
          cat(path_, ": [tokens, layers, k] holds one step of equal layers; choose it with @step=N"));
    step_ = step.step, tokens_ = step.tokens;
    layers_.push_back(step.experts);
    if (std::ssize(layers_) * tokens_ * top_k_ > kMostTraceSlots)
      throw UsageError(cat(path_, ": more than ", kMostTraceSlots, " slots; choose a layer with @layer=N"));
  }

  void finish() override {
    file_.write(npy_head("<i4", {tokens_, std::ssize(layers_), top_k_}));
    for (std::int64_t t = 0; t < tokens_; ++t)
      for (const auto& experts : layers_)
        file_.write_all(std::span(experts).subspan(static_cast<std::size_t>(t * top_k_),
                                                   static_cast<std::size_t>(top_k_)));
    file_.finish();
  }

 private:
  std::string path_;
  OutputFile file_;
  std::int64_t top_k_, step_ = 0, tokens_ = 0;
  std::vector<std::vector<std::int32_t>> layers_;
};

class CountsWriter final : public TraceWriter {
 public:
  CountsWriter(const std::string& path, const TraceInfo& info)
      : path_(path), file_(path), experts_(info.experts) {
    if (experts_ == 0)
      throw UsageError(cat(path, ": counts need the number of experts, which the trace does not say"));
  }

  void add(const TraceStep& step) override {
    if (steps_.empty() || step.step != last_) steps_.push_back(0), last_ = step.step;
    ++steps_.back();
    if (step.experts.empty()) {
      counts_.insert(counts_.end(), step.counts.begin(), step.counts.end());
      return;
    }
    const std::size_t row = counts_.size();
    counts_.resize(row + static_cast<std::size_t>(experts_));
    for (const std::int32_t expert : step.experts) ++counts_[row + static_cast<std::size_t>(expert)];
  }

  void finish() override {
    if (std::any_of(steps_.begin(), steps_.end(),
                    [&](std::int64_t layers) { return layers != steps_.front(); }))
      throw UsageError(cat(path_, ": [steps, layers, experts] needs as many layers in every step"));
    file_.write(npy_head("<i8", {std::ssize(steps_), steps_.empty() ? 0 : steps_.front(), experts_}));
    file_.write_all(std::span<const std::int64_t>(counts_));
    file_.finish();
  }

 private:
  std::string path_;
  OutputFile file_;
  std::int64_t experts_, last_ = 0;
  std::vector<std::int64_t> steps_;  ///< layers of each
  std::vector<std::int64_t> counts_;
};

}  // namespace

std::unique_ptr<TraceReader> read_npy_trace(std::unique_ptr<ByteSource> source, ArrayMeaning meaning) {
  NpyArray array = parse_npy(*source);
  const std::size_t axes = array.shape.size();
  if (axes == 3 && meaning == ArrayMeaning::experts)
    return std::make_unique<ExpertsReader>(std::move(source), std::move(array));
  if (axes != 2 && axes != 3)
    source->refuse(
        10, cat(axes, " axes; valid: [tokens, layers, k], [layers, experts], [steps, layers, experts]"));
  return std::make_unique<CountsReader>(std::move(source), std::move(array));
}

std::unique_ptr<TraceWriter> write_npy_experts(const std::string& path, const TraceInfo& info) {
  return std::make_unique<ExpertsWriter>(path, info);
}
std::unique_ptr<TraceWriter> write_npy_counts(const std::string& path, const TraceInfo& info) {
  return std::make_unique<CountsWriter>(path, info);
}

}  // namespace moebench
