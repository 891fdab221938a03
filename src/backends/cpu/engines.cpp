// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/engines.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "backends/cpu/expert_ffn.h"
#include "base/text.h"

namespace moebench::cpu {
namespace {

class LoopEngine final : public Engine {
 public:
  LoopEngine(ThreadPool& pool, Memory& memory, const EngineShape& shape)
      : experts_(shape.experts), ffn_(pool, memory, shape) {}

  void reserve(std::int64_t rows) override { ffn_.reserve(rows); }
  void forward(const ExpertsForward& args) override {
    for (std::int64_t e = 0; e < experts_; ++e)
      ffn_.forward(block(args, e), args.weights, args.x.as<float>(), args.out.as<float>());
  }
  void backward(const ExpertsBackward& args) override {
    ffn_.clear(args.gradients);
    for (std::int64_t e = 0; e < experts_; ++e)
      ffn_.backward(block(args.forward, e), args.forward.weights, args.forward.x.as<float>(),
                    args.dout.as<float>(), args.dx.as<float>(), args.gradients);
  }

 private:
  static RowBlock block(const ExpertsForward& args, std::int64_t e) {
    return {e, args.offsets[e], args.offsets[e + 1] - args.offsets[e]};
  }
  std::int64_t experts_;
  ExpertFfn ffn_;
};

/// Row by row, as a first implementation would: every product has one row.
class SampleEngine final : public Engine {
 public:
  SampleEngine(ThreadPool& pool, Memory& memory, const EngineShape& shape) : ffn_(pool, memory, shape) {}

  RowOrder row_order() const override { return RowOrder::by_token; }
  void reserve(std::int64_t rows) override { ffn_.reserve(rows); }
  void forward(const ExpertsForward& args) override {
    for (std::int64_t r = 0; r < args.x.rows; ++r)
      ffn_.forward({args.expert_of_row[r], r, 1}, args.weights, args.x.as<float>(), args.out.as<float>());
  }
  void backward(const ExpertsBackward& args) override {
    ffn_.clear(args.gradients);
    for (std::int64_t r = 0; r < args.dx.rows; ++r)
      ffn_.backward({args.forward.expert_of_row[r], r, 1}, args.forward.weights, args.forward.x.as<float>(),
                    args.dout.as<float>(), args.dx.as<float>(), args.gradients);
  }

 private:
  ExpertFfn ffn_;
};

/// What the two gathering engines share: row buffers in expert order beside the caller's token order.
class GatheringEngine : public Engine {
 public:
  GatheringEngine(ThreadPool& pool, Memory& memory, const EngineShape& shape)
      : shape_(shape), pool_(pool), ffn_(pool, memory, shape), x_(memory, 0), out_(memory, 0), grad_(memory, 0),
        blocks_(static_cast<std::size_t>(shape.experts)) {}

  RowOrder row_order() const override { return RowOrder::by_token; }
  void reserve(std::int64_t rows) override {
    ffn_.reserve(rows);
    const auto bytes = static_cast<std::size_t>(rows * shape_.hidden) * sizeof(float);
    for (Buffer* buffer : {&x_, &out_, &grad_}) buffer->reserve(bytes);
    order_.resize(static_cast<std::size_t>(rows));
  }

 protected:
  /// Sorted rows [block) = rows order_[block) of `from`.
  void gather(const RowBlock& block, const float* from, float* sorted) {
    move(block, [=](float* row, std::int64_t index, std::int64_t h) { std::memcpy(row, from + index * h, h * sizeof(float)); }, sorted);
  }
  /// The reverse: rows order_[block) of `to` = sorted rows.
  void scatter(const RowBlock& block, float* sorted, float* to) {
    move(block, [=](float* row, std::int64_t index, std::int64_t h) { std::memcpy(to + index * h, row, h * sizeof(float)); }, sorted);
  }
  float* sorted_x() const { return x_.as<float>(); }
  float* sorted_out() const { return out_.as<float>(); }
  float* sorted_grad() const { return grad_.as<float>(); }

  EngineShape shape_;
  ThreadPool& pool_;
  ExpertFfn ffn_;
  Buffer x_, out_, grad_;
  std::vector<std::int32_t> order_;  ///< sorted row → the caller's row
  std::vector<RowBlock> blocks_;     ///< one per expert, from the last forward pass

 private:
  template <class Move>
  void move(const RowBlock& block, Move move_row, float* sorted) {
    const std::int64_t h = shape_.hidden;
    pool_.parallel_for(block.count, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = block.first + begin; i < block.first + end; ++i) move_row(sorted + i * h, order_[i], h);
    });
  }
};

/// Per expert: a mask over all rows, the rows it selects, the network, the rows written back.
class MaskEngine final : public GatheringEngine {
 public:
  using GatheringEngine::GatheringEngine;

  void forward(const ExpertsForward& args) override {
    std::int64_t first = 0;
    for (std::int64_t e = 0; e < shape_.experts; ++e) {
      const RowBlock block = blocks_[e] = select(args.expert_of_row, e, first);
      gather(block, args.x.as<float>(), sorted_x());
      ffn_.forward(block, args.weights, sorted_x(), sorted_out());
      scatter(block, sorted_out(), args.out.as<float>());
      first += block.count;
    }
  }
  void backward(const ExpertsBackward& args) override {
    ffn_.clear(args.gradients);
    for (const RowBlock& block : blocks_) {
      gather(block, args.dout.as<float>(), sorted_grad());
      ffn_.backward(block, args.forward.weights, sorted_x(), sorted_grad(), sorted_out(), args.gradients);
      scatter(block, sorted_out(), args.dx.as<float>());
    }
  }

 private:
  RowBlock select(std::span<const std::int32_t> expert_of_row, std::int64_t e, std::int64_t first) {
    std::int64_t next = first;
    for (std::int64_t r = 0; r < std::ssize(expert_of_row); ++r)
      if (expert_of_row[r] == e) order_[next++] = static_cast<std::int32_t>(r);
    return {e, first, next - first};
  }
};

/// D. Rau's module: one sort and one gather for all, the experts in series, one write back by index.
class RauEngine final : public GatheringEngine {
 public:
  RauEngine(ThreadPool& pool, Memory& memory, const EngineShape& shape)
      : GatheringEngine(pool, memory, shape), parts_(memory, 0) {}

  void reserve(std::int64_t rows) override {
    GatheringEngine::reserve(rows);
    parts_.reserve(static_cast<std::size_t>(rows * shape_.hidden) * sizeof(float));
  }
  void forward(const ExpertsForward& args) override {
    sort(args.expert_of_row);
    const RowBlock all{0, 0, args.x.rows};
    gather(all, args.x.as<float>(), sorted_x());
    for (const RowBlock& block : blocks_) ffn_.forward(block, args.weights, sorted_x(), parts_.as<float>());
    concatenate(all);
    scatter(all, sorted_out(), args.out.as<float>());
  }
  void backward(const ExpertsBackward& args) override {
    ffn_.clear(args.gradients);
    const RowBlock all{0, 0, args.dx.rows};
    gather(all, args.dout.as<float>(), sorted_grad());
    for (const RowBlock& block : blocks_)
      ffn_.backward(block, args.forward.weights, sorted_x(), sorted_grad(), parts_.as<float>(), args.gradients);
    concatenate(all);
    scatter(all, sorted_out(), args.dx.as<float>());
  }

 private:
  void sort(std::span<const std::int32_t> expert_of_row) {
    const auto rows = std::ssize(expert_of_row);
    std::iota(order_.begin(), order_.begin() + rows, 0);
    std::stable_sort(order_.begin(), order_.begin() + rows,
                     [&](std::int32_t a, std::int32_t b) { return expert_of_row[a] < expert_of_row[b]; });
    std::int64_t first = 0;
    for (std::int64_t e = 0; e < shape_.experts; ++e) {
      std::int64_t next = first;
      while (next < rows && expert_of_row[order_[next]] == e) ++next;
      blocks_[e] = {e, first, next - first};
      first = next;
    }
  }
  /// The copy that torch.cat makes of the experts' separate outputs.
  void concatenate(const RowBlock& all) {
    const std::int64_t h = shape_.hidden;
    pool_.parallel_for(all.count, 16, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(sorted_out() + begin * h, parts_.as<float>() + begin * h, (end - begin) * h * sizeof(float));
    });
  }

  Buffer parts_;
};

template <class T>
std::unique_ptr<Engine> make(const EngineShape& shape, ThreadPool& pool, Memory& memory) {
  return std::make_unique<T>(pool, memory, shape);
}

struct Entry {
  std::string_view name;
  std::unique_ptr<Engine> (*make)(const EngineShape&, ThreadPool&, Memory&);
};
constexpr Entry kEngines[] = {
    {"loop", make<LoopEngine>},
    {"naive-sample", make<SampleEngine>},
    {"naive-mask", make<MaskEngine>},
    {"naive-rau", make<RauEngine>},
};

}  // namespace

std::vector<std::string> engine_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kEngines) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape, ThreadPool& pool, Memory& memory) {
  for (const Entry& entry : kEngines)
    if (entry.name == name) return entry.make(shape, pool, memory);
  throw_unknown("engine", name, engine_names());
}

}  // namespace moebench::cpu
