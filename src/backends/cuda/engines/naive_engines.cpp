// SPDX-License-Identifier: Apache-2.0
// The layers people write first, with what they cost on a GPU: many small launches, and the host waiting for
// counts.
#include "backends/cuda/engines/engines.h"
#include "backends/cuda/engines/expert_ffn.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench::cuda {
namespace {

/// Row by row: every product has one row. Weight gradients of 16-bit formats are summed in fp32 and rounded
/// at the end, since a sum over a thousand rows would drown in its own roundings.
class SampleEngine final : public Engine {
 public:
  SampleEngine(const EngineShape& shape, Gpu& gpu)
      : shape_(shape),
        gpu_(gpu),
        ffn_(gpu, shape),
        runner_(make_series_runner(gpu)),
        offsets_(gpu.memory, 0) {
    if (!shape.backward || size_of(shape.dtype) == 4) return;
    const std::int64_t e = shape.experts, h = shape.hidden, f = shape.ffn, w1 = shape.w1_cols();
    const auto sums = [&](std::int64_t rows, std::int64_t cols) {
      return Tensor(gpu.memory, DType::fp32, rows, cols);
    };
    w1_ = sums(e * h, w1), w2_ = sums(e * f, h);
    if (shape.bias) b1_ = sums(e, w1), b2_ = sums(e, h);
  }

  EngineTraits traits() const override { return kNaiveTraits; }
  void reserve(std::int64_t rows) override {
    ffn_.reserve(rows);
    const auto bytes = static_cast<std::size_t>(rows + 1) * sizeof(std::int32_t);
    if (bytes <= offsets_.bytes()) return;
    offsets_.reserve(bytes);
    iota(gpu_.stream.get(), {offsets_.as<std::int32_t>(), static_cast<std::size_t>(rows + 1)});
  }
  void forward(const ExpertsForward& args) override {
    experts_ = gpu_.read(args.expert_of_row);
    each_row(
        [&](const Blocks& row) { ffn_.forward(row, args.weights, args.x.data, args.out.data, *runner_); });
  }
  void backward(const ExpertsBackward& args) override {
    const ExpertTensors sums =
        size_of(shape_.dtype) == 4 ? args.gradients : ExpertTensors{w1_, b1_, w2_, b2_};
    for (const TensorView& sum : {sums.w1, sums.b1, sums.w2, sums.b2})
      if (sum.data) MB_CUDA(cudaMemsetAsync(sum.data, 0, sum.bytes(), gpu_.stream.get()));
    each_row([&](const Blocks& row) {
      ffn_.backward(row, args.forward.weights, args.forward.x.data, args.dout.data, args.dx.data, sums, true,
                    *runner_);
    });
    if (sums.w1.data == args.gradients.w1.data) return;
    convert(gpu_.stream.get(), sums.w1, args.gradients.w1);
    convert(gpu_.stream.get(), sums.w2, args.gradients.w2);
    if (!shape_.bias) return;
    convert(gpu_.stream.get(), sums.b1, args.gradients.b1);
    convert(gpu_.stream.get(), sums.b2, args.gradients.b2);
  }

 private:
  template <class Work>
  void each_row(Work work) {
    for (std::int64_t r = 0; r < std::ssize(experts_); ++r) {
      if (experts_[static_cast<std::size_t>(r)] < 0) continue;
      const RowBlock row{experts_[static_cast<std::size_t>(r)], r, 1};
      work(Blocks{{&row, 1}, offsets_.as<std::int32_t>() + r});
    }
  }

  EngineShape shape_;
  Gpu& gpu_;
  ExpertFfn ffn_;
  std::unique_ptr<ExpertGemmRunner> runner_;
  Buffer offsets_;                     ///< 0, 1, 2, …: each row is a block of its own
  std::vector<std::int32_t> experts_;  ///< of each row
  Tensor w1_, b1_, w2_, b2_;           ///< gradients in fp32
};

/// What the two gathering engines share: row buffers in expert order beside the caller's token order.
class GatheringEngine : public Engine {
 public:
  GatheringEngine(const EngineShape& shape, Gpu& gpu)
      : shape_(shape),
        gpu_(gpu),
        ffn_(gpu, shape),
        runner_(make_series_runner(gpu)),
        x_(gpu.memory, 0),
        out_(gpu.memory, 0),
        grad_(gpu.memory, 0),
        indices_(gpu.memory, 0),
        scratch_(gpu.memory, 0) {}

  EngineTraits traits() const override { return kNaiveTraits; }
  void reserve(std::int64_t rows) override {
    ffn_.reserve(rows);
    const auto bytes = static_cast<std::size_t>(rows * shape_.hidden) * size_of(shape_.dtype);
    for (Buffer* buffer : {&x_, &out_}) buffer->reserve(bytes);
    if (shape_.backward) grad_.reserve(bytes);
    rows_ = std::max(rows_, rows);
    const std::int64_t bins = std::max<std::int64_t>(shape_.experts, 2);
    const auto words = static_cast<std::size_t>(4 * rows_ + 2 * bins + 1);
    indices_.reserve(words * sizeof(std::int32_t));
    scratch_.reserve(static_cast<std::size_t>(plan_scratch(rows_, bins)) * sizeof(std::int32_t));
  }

 protected:
  /// Sorts slots by `keys` below `bins`: order()[first…] becomes the stable permutation. Returns the counts,
  /// for which the host waits.
  std::vector<std::int32_t> sort(std::span<const std::int32_t> keys, std::int64_t bins, std::int64_t first) {
    const std::size_t rows = keys.size();
    auto* counts = indices_.as<std::int32_t>() + 4 * rows_;
    const std::span<std::int32_t> bin_counts(counts, static_cast<std::size_t>(bins));
    plan(gpu_.stream.get(),
         {.expert_of = keys,
          .order = RowOrder::by_expert,
          .counts = bin_counts,
          .offsets = {counts + bins, static_cast<std::size_t>(bins + 1)},
          .row_of = {indices_.as<std::int32_t>() + 3 * rows_, rows},
          .slot_of = {order() + first, rows}},
         scratch_.as<std::int32_t>());
    return gpu_.read(std::span<const std::int32_t>(bin_counts));
  }
  /// Sorted row i ↔ the caller's row order()[i]. Twice as long as there are rows: see sort().
  std::int32_t* order() const { return indices_.as<std::int32_t>(); }
  std::int32_t* keys() const { return indices_.as<std::int32_t>() + 2 * rows_; }

  /// `count` sorted rows from `first` on.
  TensorView sorted(const Buffer& buffer, std::int64_t first, std::int64_t count) const {
    return TensorView{buffer.data(), shape_.dtype, first + count, shape_.hidden}.slice(first, count);
  }
  void gather(const TensorView& from, const Buffer& to, std::int64_t first, std::int64_t count) {
    gather_rows(gpu_.stream.get(), order() + first, from, sorted(to, first, count));
  }
  void scatter(const Buffer& from, const TensorView& to, std::int64_t first, std::int64_t count) {
    scatter_rows(gpu_.stream.get(), order() + first, sorted(from, first, count), to);
  }
  /// One expert; `offsets` [e + 1] as the layer's plan wrote them, in token order too.
  static Blocks single_expert(const RowBlock& block, std::span<const std::int32_t> offsets) {
    return {{&block, 1}, offsets.data() + block.expert};
  }

  EngineShape shape_;
  Gpu& gpu_;
  ExpertFfn ffn_;
  std::unique_ptr<ExpertGemmRunner> runner_;
  Buffer x_, out_, grad_;
  Buffer
      indices_;  ///< order [2·rows], keys [rows], inverse of order [rows], counts [bins], offsets [bins + 1]
  Buffer scratch_;
  std::int64_t rows_ = 0;
  std::vector<RowBlock> blocks_;  ///< one per expert, from the last forward pass
};

/// Per expert: a mask over all rows, the rows it selects, a wait for their number, the network, the rows
/// written back.
class MaskEngine final : public GatheringEngine {
 public:
  using GatheringEngine::GatheringEngine;

  void forward(const ExpertsForward& args) override {
    blocks_.clear();
    std::int64_t first = 0;
    for (std::int64_t e = 0; e < shape_.experts; ++e) {
      mark_expert(gpu_.stream.get(), args.expert_of_row, e, keys());
      const std::int64_t count = sort({keys(), args.expert_of_row.size()}, 2, first)[0];
      blocks_.push_back({e, first, count});
      gather(args.x, x_, first, count);
      ffn_.forward(single_expert(blocks_.back(), args.offsets), args.weights, x_.data(), out_.data(),
                   *runner_);
      scatter(out_, args.out, first, count);
      first += count;
    }
  }
  void backward(const ExpertsBackward& args) override {
    for (const RowBlock& block : blocks_) {
      gather(args.dout, grad_, block.first, block.count);
      ffn_.backward(single_expert(block, args.forward.offsets), args.forward.weights, x_.data(), grad_.data(),
                    out_.data(), args.gradients, false, *runner_);
      scatter(out_, args.dx, block.first, block.count);
    }
  }
};

/// D. Rau's module: one sort and one gather for all, the experts in series, one write back by index.
class RauEngine final : public GatheringEngine {
 public:
  RauEngine(const EngineShape& shape, Gpu& gpu) : GatheringEngine(shape, gpu), parts_(gpu.memory, 0) {}

  void reserve(std::int64_t rows) override {
    GatheringEngine::reserve(rows);
    parts_.reserve(out_.bytes());
  }
  void forward(const ExpertsForward& args) override {
    const auto counts = sort(args.expert_of_row, shape_.experts, 0);
    blocks_.clear();
    std::int64_t first = 0;
    for (std::int64_t e = 0; e < shape_.experts; ++e) {
      const std::int64_t count = counts[static_cast<std::size_t>(e)];
      blocks_.push_back({e, first, count});
      first += count;
    }
    rows_of_step_ = first;
    gather(args.x, x_, 0, first);
    for (const RowBlock& block : blocks_)
      ffn_.forward(single_expert(block, args.offsets), args.weights, x_.data(), parts_.data(), *runner_);
    concatenate(first);
    scatter(out_, args.out, 0, first);
  }
  void backward(const ExpertsBackward& args) override {
    gather(args.dout, grad_, 0, rows_of_step_);
    for (const RowBlock& block : blocks_)
      ffn_.backward(single_expert(block, args.forward.offsets), args.forward.weights, x_.data(), grad_.data(),
                    parts_.data(), args.gradients, false, *runner_);
    concatenate(rows_of_step_);
    scatter(out_, args.dx, 0, rows_of_step_);
  }

 private:
  /// The copy that torch.cat makes of the experts' separate outputs.
  void concatenate(std::int64_t rows) {
    const TensorView from = sorted(parts_, 0, rows);
    if (from.bytes() > 0)
      MB_CUDA(
          cudaMemcpyAsync(out_.data(), from.data, from.bytes(), cudaMemcpyDeviceToDevice, gpu_.stream.get()));
  }

  Buffer parts_;
  std::int64_t rows_of_step_ = 0;  ///< that exist in the last forward pass
};

}  // namespace

std::unique_ptr<Engine> make_sample_engine(const EngineShape& shape, Gpu& gpu) {
  return std::make_unique<SampleEngine>(shape, gpu);
}
std::unique_ptr<Engine> make_mask_engine(const EngineShape& shape, Gpu& gpu) {
  return std::make_unique<MaskEngine>(shape, gpu);
}
std::unique_ptr<Engine> make_rau_engine(const EngineShape& shape, Gpu& gpu) {
  return std::make_unique<RauEngine>(shape, gpu);
}

}  // namespace moebench::cuda
