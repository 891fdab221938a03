// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/engines.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "backends/cpu/expert_ffn.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench::cpu {
namespace {

/// Rows sorted by expert, one product per expert and matrix. Rows, and in the gradients hidden units, are dealt to the
/// threads by the work they make, whoever's they are: even routing, skew and the number of experts make no difference.
class LoopEngine final : public Engine {
 public:
  LoopEngine(ThreadPool& pool, Memory& memory, const EngineShape& shape)
      : shape_(shape), pool_(pool), ffn_(memory, shape), rows_(memory, 0) {}

  static constexpr EngineTraits kTraits{.takes_parts = true};
  EngineTraits traits() const override { return kTraits; }
  void reserve(std::int64_t rows) override { ffn_.reserve(rows); }
  /// Both products of a row at once, when the first is asked for.
  void forward(const ExpertsForward& args) override {
    if (!args.part.first) return;
    float* const out = rows_of(args.out, args.out_rows);
    each_block(args, [&](const RowBlock& block) {
      ffn_.forward(block, args.weights, args.x.as<float>(), out);
      store_rows(block, out, args.out_rows);
    });
  }
  /// The same of both gradients, when that of the second product is asked for.
  void backward(const ExpertsBackward& args) override {
    const float* dout = args.dout.as<float>();
    float* const dx = rows_of(args.dx, args.dx_rows);
    if (args.forward.part.second)
      each_block(args.forward, [&](const RowBlock& block) {
        ffn_.backward(block, args.forward.weights, dout, dx);
        store_rows(block, dx, args.dx_rows);
      });
    if (!args.forward.part.weights) return;
    each_unit(args.forward, [&](const RowBlock& block, std::int64_t begin, std::int64_t end) {
      ffn_.weight_gradients(block, begin, end, args.forward.x.as<float>(), dout, args.gradients);
    });
  }

 private:
  /// Where a product puts its rows: into `rows`, or if each has a place of its own into memory from which store_rows()
  /// brings them there. That grows with the most rows seen.
  float* rows_of(const TensorView& rows, std::span<std::byte* const> places) {
    if (places.empty()) return rows.as<float>();
    rows_.reserve(static_cast<std::size_t>(rows.size()) * sizeof(float));
    return rows_.as<float>();
  }
  void store_rows(const RowBlock& block, const float* rows, std::span<std::byte* const> places) const {
    if (places.empty()) return;
    for (std::int64_t row = block.first; row < block.first + block.count; ++row)
      std::memcpy(places[static_cast<std::size_t>(row)], rows + row * shape_.hidden,
                  static_cast<std::size_t>(shape_.hidden) * sizeof(float));
  }

  static RowBlock block_of(const ExpertsForward& args, std::int64_t e) {
    return {e, args.offsets[e], args.offsets[e + 1] - args.offsets[e]};
  }

  /// body(block) for each thread's share of the rows, cut where an expert ends.
  template <class Body>
  void each_block(const ExpertsForward& args, Body body) {
    pool_.parallel_for(args.x.rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t e = 0; e < shape_.experts; ++e) {
        const bool whole = args.part.begin.empty();
        const std::int64_t first =
            std::max<std::int64_t>(begin, whole ? args.offsets[e] : args.part.begin[e]);
        const std::int64_t last = std::min<std::int64_t>(end, whole ? args.offsets[e + 1] : args.part.end[e]);
        if (first < last) body(RowBlock{e, first, last - first});
      }
    });
  }

  /// body(block, begin, end) for each thread's share of all experts' hidden units. A unit weighs its expert's rows, and one
  /// more for writing its gradient.
  template <class Body>
  void each_unit(const ExpertsForward& args, Body body) {
    const std::int64_t f = shape_.ffn, work = (args.x.rows + shape_.experts) * f;
    pool_.parallel_for(work, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t e = 0; e < shape_.experts; ++e) {
        const RowBlock block = block_of(args, e);
        const std::int64_t weight = block.count + 1, before = (block.first + e) * f;
        const auto unit_at = [&](std::int64_t position) {
          return std::clamp<std::int64_t>((position - before + weight - 1) / weight, 0, f);
        };
        const std::int64_t first = begin <= before ? 0 : unit_at(begin),
                           last = end <= before ? 0 : unit_at(end);
        if (first < last) body(block, first, last);
      }
    });
  }

  EngineShape shape_;
  ThreadPool& pool_;
  ExpertFfn ffn_;
  Buffer rows_;  ///< see rows_of()
};

/// One expert's network on a block of rows, with all threads on each block, one block after the other: how a naive layer
/// keeps a device busy.
class BlockByBlock {
 public:
  BlockByBlock(ThreadPool& pool, Memory& memory, const EngineShape& shape)
      : ffn_size_(shape.ffn), pool_(pool), ffn_(memory, shape) {}

  void reserve(std::int64_t rows) { ffn_.reserve(rows); }
  void forward(const RowBlock& block, const ExpertTensors& weights, const float* x, float* out) {
    each_row(block, [&](const RowBlock& part) { ffn_.forward(part, weights, x, out); });
  }
  void backward(const RowBlock& block, const ExpertTensors& weights, const float* x, const float* dout,
                float* dx, const ExpertTensors& gradients, bool accumulate = false) {
    each_row(block, [&](const RowBlock& part) { ffn_.backward(part, weights, dout, dx); });
    pool_.parallel_for(ffn_size_, 16, [&](std::int64_t begin, std::int64_t end) {
      ffn_.weight_gradients(block, begin, end, x, dout, gradients, accumulate);
    });
  }

 private:
  template <class Body>
  void each_row(const RowBlock& block, Body body) {
    pool_.parallel_for(block.count, 1, [&](std::int64_t begin, std::int64_t end) {
      body(RowBlock{block.expert, block.first + begin, end - begin});
    });
  }
  std::int64_t ffn_size_;
  ThreadPool& pool_;
  ExpertFfn ffn_;
};

/// Row by row, as a first implementation would: every product has one row, every gradient is added to.
class SampleEngine final : public Engine {
 public:
  SampleEngine(ThreadPool& pool, Memory& memory, const EngineShape& shape)
      : pool_(pool), ffn_(pool, memory, shape) {}

  static constexpr EngineTraits kTraits{.row_order = RowOrder::by_token};
  EngineTraits traits() const override { return kTraits; }
  void reserve(std::int64_t rows) override { ffn_.reserve(rows); }
  void forward(const ExpertsForward& args) override {
    for (std::int64_t r = 0; r < args.x.rows; ++r)
      if (args.expert_of_row[r] >= 0)
        ffn_.forward({args.expert_of_row[r], r, 1}, args.weights, args.x.as<float>(), args.out.as<float>());
  }
  void backward(const ExpertsBackward& args) override {
    for (const TensorView& gradient :
         {args.gradients.w1, args.gradients.b1, args.gradients.w2, args.gradients.b2})
      clear(gradient);
    for (std::int64_t r = 0; r < args.dx.rows; ++r) {
      if (args.forward.expert_of_row[r] < 0) continue;
      ffn_.backward({args.forward.expert_of_row[r], r, 1}, args.forward.weights, args.forward.x.as<float>(),
                    args.dout.as<float>(), args.dx.as<float>(), args.gradients, true);
    }
  }

 private:
  void clear(const TensorView& gradient) {
    if (!gradient.data) return;
    pool_.parallel_for(gradient.size(), 4096, [&](std::int64_t begin, std::int64_t end) {
      std::fill(gradient.as<float>() + begin, gradient.as<float>() + end, 0.0f);
    });
  }
  ThreadPool& pool_;
  BlockByBlock ffn_;
};

/// What the two gathering engines share: row buffers in expert order beside the caller's token order.
class GatheringEngine : public Engine {
 public:
  GatheringEngine(ThreadPool& pool, Memory& memory, const EngineShape& shape)
      : shape_(shape),
        pool_(pool),
        ffn_(pool, memory, shape),
        x_(memory, 0),
        out_(memory, 0),
        grad_(memory, 0),
        blocks_(static_cast<std::size_t>(shape.experts)) {}

  static constexpr EngineTraits kTraits{.row_order = RowOrder::by_token, .row_copies = 3};
  EngineTraits traits() const override { return kTraits; }
  void reserve(std::int64_t rows) override {
    ffn_.reserve(rows);
    const auto bytes = static_cast<std::size_t>(rows * shape_.hidden) * sizeof(float);
    for (Buffer* buffer : {&x_, &out_, &grad_}) buffer->reserve(bytes);
    order_.resize(static_cast<std::size_t>(rows));
  }

 protected:
  /// Sorted rows [block) = rows order_[block) of `from`.
  void gather(const RowBlock& block, const float* from, float* sorted) {
    move(
        block,
        [=](float* row, std::int64_t index, std::int64_t h) {
          std::memcpy(row, from + index * h, h * sizeof(float));
        },
        sorted);
  }
  /// The reverse: rows order_[block) of `to` = sorted rows.
  void scatter(const RowBlock& block, float* sorted, float* to) {
    move(
        block,
        [=](float* row, std::int64_t index, std::int64_t h) {
          std::memcpy(to + index * h, row, h * sizeof(float));
        },
        sorted);
  }
  float* sorted_x() const { return x_.as<float>(); }
  float* sorted_out() const { return out_.as<float>(); }
  float* sorted_grad() const { return grad_.as<float>(); }

  EngineShape shape_;
  ThreadPool& pool_;
  BlockByBlock ffn_;
  Buffer x_, out_, grad_;
  std::vector<std::int32_t> order_;  ///< sorted row → the caller's row
  std::vector<RowBlock> blocks_;     ///< one per expert, from the last forward pass

 private:
  template <class Move>
  void move(const RowBlock& block, Move move_row, float* sorted) {
    const std::int64_t h = shape_.hidden;
    pool_.parallel_for(block.count, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = block.first + begin; i < block.first + end; ++i)
        move_row(sorted + i * h, order_[i], h);
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

  static constexpr EngineTraits kTraits{.row_order = RowOrder::by_token, .row_copies = 4};
  EngineTraits traits() const override { return kTraits; }

  void reserve(std::int64_t rows) override {
    GatheringEngine::reserve(rows);
    parts_.reserve(static_cast<std::size_t>(rows * shape_.hidden) * sizeof(float));
  }
  void forward(const ExpertsForward& args) override {
    sort(args.expert_of_row);
    const RowBlock all = sorted_rows();
    gather(all, args.x.as<float>(), sorted_x());
    for (const RowBlock& block : blocks_) ffn_.forward(block, args.weights, sorted_x(), parts_.as<float>());
    concatenate(all);
    scatter(all, sorted_out(), args.out.as<float>());
  }
  void backward(const ExpertsBackward& args) override {
    const RowBlock all = sorted_rows();
    gather(all, args.dout.as<float>(), sorted_grad());
    for (const RowBlock& block : blocks_)
      ffn_.backward(block, args.forward.weights, sorted_x(), sorted_grad(), parts_.as<float>(),
                    args.gradients);
    concatenate(all);
    scatter(all, sorted_out(), args.dx.as<float>());
  }

 private:
  /// Those of the last forward pass that exist.
  RowBlock sorted_rows() const { return {0, 0, blocks_.back().first + blocks_.back().count}; }
  void sort(std::span<const std::int32_t> expert_of_row) {
    std::int64_t rows = 0;
    for (std::int64_t r = 0; r < std::ssize(expert_of_row); ++r)
      if (expert_of_row[r] >= 0) order_[rows++] = static_cast<std::int32_t>(r);
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
      std::memcpy(sorted_out() + begin * h, parts_.as<float>() + begin * h,
                  (end - begin) * h * sizeof(float));
    });
  }

  Buffer parts_;
};

template <class T>
std::unique_ptr<Engine> make(const EngineShape& shape, ThreadPool& pool, Memory& memory) {
  return std::make_unique<T>(pool, memory, shape);
}

std::string needs_fp32(const EngineShape& shape) {
  if (shape.dtype == DType::fp32) return {};
  return cat("backend cpu computes in fp32, not ", name_of(shape.dtype));
}

struct Entry {
  std::string_view name;
  std::unique_ptr<Engine> (*make)(const EngineShape&, ThreadPool&, Memory&);
  std::string (*why_not)(const EngineShape&);
  EngineTraits traits;
};
constexpr Entry kEngines[] = {
    {"loop", make<LoopEngine>, needs_fp32, LoopEngine::kTraits},
    {"naive-sample", make<SampleEngine>, needs_fp32, SampleEngine::kTraits},
    {"naive-mask", make<MaskEngine>, needs_fp32, MaskEngine::kTraits},
    {"naive-rau", make<RauEngine>, needs_fp32, RauEngine::kTraits},
};

const Entry& find(std::string_view name) {
  for (const Entry& entry : kEngines)
    if (entry.name == name) return entry;
  throw_unknown("engine", name, engine_names());
}

}  // namespace

std::vector<std::string> engine_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kEngines) names.emplace_back(entry.name);
  return names;
}

EngineTraits engine_traits(std::string_view name) {
  for (const Entry& entry : kEngines)
    if (entry.name == name) return entry.traits;
  return {};
}

std::string why_not(std::string_view name, const EngineShape& shape) { return find(name).why_not(shape); }

std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape, ThreadPool& pool,
                                    Memory& memory) {
  const Entry& engine = find(name);
  if (const std::string why = engine.why_not(shape); !why.empty()) throw UsageError(why);
  return engine.make(shape, pool, memory);
}

}  // namespace moebench::cpu
