// SPDX-License-Identifier: Apache-2.0
// The engine `grouped`: all experts in one grouped GEMM per weight, two forward and four backward. The host knows
// only the total number of rows.
#include <utility>

#include "backends/cuda/engines/engines.h"
#include "backends/cuda/grouped/grouped_gemm.h"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/stages/kernels.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {

using grouped::EpilogueOp;
using grouped::GemmKind;

class GroupedEngine final : public Engine {
 public:
  GroupedEngine(const EngineShape& shape, Gpu& gpu, std::unique_ptr<grouped::GroupedGemm> gemm,
                const EngineTraits& traits)
      : gpu_(gpu), shape_(shape), gemm_(std::move(gemm)), traits_(traits) {
    for (Tensor* tensor : {&pre_, &dpre_}) *tensor = Tensor(gpu.memory, shape.dtype, 0, shape.w1_cols());
    act_ = Tensor(gpu.memory, shape.dtype, 0, shape.ffn);
    dscore_partials_ =
        Tensor(gpu.memory, DType::fp32, 0, grouped::dscore_partials_per_row(static_cast<int>(shape.ffn)));
  }

  EngineTraits traits() const override { return traits_; }

  void reserve(std::int64_t rows) override {
    if (rows <= act_.view().rows) return;
    act_.set_rows(rows);
    if (!shape_.backward) return;
    pre_.set_rows(rows);
    dpre_.set_rows(rows);
    if (traits_.computes_dscore) dscore_partials_.set_rows(rows);
  }

  void forward(const ExpertsForward& args) override {
    ExpertsForward pass = args;
    const std::int64_t n = args.out.rows;
    const ExpertTensors& w = args.weights;
    if (args.part.first)
      run({.kind = GemmKind::fprop,
           .a = args.x,
           .b = w.w1,
           .out = first(act_, n),
           .epilogue = EpilogueOp::activate,
           .bias = w.b1,
           .pre = shape_.backward ? first(pre_, n) : TensorView{},
           .slot_of = traits_.gathers_input ? args.slot_of.data() : nullptr,
           .top_k = shape_.top_k},
          pass);
    if (args.part.second)
      run({.kind = GemmKind::fprop,
           .a = first(act_, n),
           .b = w.w2,
           .out = args.out,
           .bias = w.b2,
           .out_rows = args.out_rows.data()},
          pass);
  }

  void backward(const ExpertsBackward& args) override {
    ExpertsForward forward = args.forward;
    const std::int64_t n = args.dout.rows;
    const TensorView dpre = first(dpre_, n);
    if (forward.part.second) differentiate(args, dpre, forward);
    if (forward.part.first)
      run({.kind = GemmKind::dgrad,
           .a = dpre,
           .b = forward.weights.w1,
           .out = args.dx,
           .out_rows = args.dx_rows.data()},
          forward);
    if (forward.part.weights) weight_gradients(args, dpre, forward);
  }

 private:
  static TensorView first(const Tensor& tensor, std::int64_t rows) { return tensor.view().slice(0, rows); }

  /// dout [n, H] → dpre.
  void differentiate(const ExpertsBackward& args, const TensorView& dpre, ExpertsForward& forward) {
    run({.kind = GemmKind::dgrad,
         .a = args.dout,
         .b = forward.weights.w2,
         .out = dpre,
         .epilogue = EpilogueOp::differentiate,
         .pre = first(pre_, dpre.rows),
         .dscore_partials = traits_.computes_dscore ? dscore_partials_.view().as<float>() : nullptr},
        forward);
    if (traits_.computes_dscore)
      reduce_dscore(gpu_.stream.get(), dscore_partials_.view().as<float>(), dscore_partials_.view().cols,
                    args.scores);
  }

  void weight_gradients(const ExpertsBackward& args, const TensorView& dpre, ExpertsForward& forward) {
    run({.kind = GemmKind::wgrad, .a = first(act_, dpre.rows), .b = args.dout, .out = args.gradients.w2},
        forward);
    run({.kind = GemmKind::wgrad, .a = forward.x, .b = dpre, .out = args.gradients.w1}, forward);
    if (!shape_.bias) return;
    sum_columns(gpu_.stream.get(), forward.offsets.data(), args.dout, args.gradients.b2, false);
    sum_columns(gpu_.stream.get(), forward.offsets.data(), dpre, args.gradients.b1, false);
  }

  /// Fills in what all GEMMs of a part have in common. Only the first of them leaves room to the kernels beside it.
  void run(grouped::GroupedGemmArgs gemm, ExpertsForward& pass) {
    ExpertsPart& part = pass.part;
    gemm.offsets = pass.offsets.data();
    if (gemm.kind != GemmKind::wgrad && !part.begin.empty()) {
      gemm.begin = part.begin.data(), gemm.end = part.end.data();
      gemm.share = part.share;
    }
    gemm.spare_units = std::exchange(part.spare_units, 0);
    gemm.spare_us = part.spare_us;
    gemm.experts = shape_.experts;
    gemm.activation = shape_.activation;
    gemm_->run(gemm);
  }

  Gpu& gpu_;
  EngineShape shape_;
  std::unique_ptr<grouped::GroupedGemm> gemm_;
  EngineTraits traits_;
  Tensor pre_, act_, dpre_;  ///< [rows, F or 2F], [rows, F], as pre
  Tensor dscore_partials_;   ///< [rows, dscore_partials_per_row(F)], see GroupedGemmArgs::dscore_partials
};

}  // namespace

/// `pack` and the gradient of the scores are fused into the GEMMs only where experts are so narrow that the bytes around
/// them matter; `pack` only where rows are not exchanged. Rows are packed nevertheless if a gradient will be summed over them:
/// gathering them once more would cost what it saves. With biases dscore is not <dact, act>.
EngineTraits grouped_traits(const EngineShape& shape) {
  if (size_of(shape.dtype) != 2) return {};
  const bool gathers =
      !shape.backward && shape.activation == Activation::swiglu && grouped::gathers_rows(shape.ffn);
  const bool dscore = shape.backward && !shape.bias && grouped::computes_dscore_partials(shape.ffn);
  return {.gathers_input = shape.single_rank && gathers,
          .computes_dscore = shape.knows_slots && dscore,
          .takes_parts = true};
}

std::unique_ptr<Engine> make_grouped_engine(const EngineShape& shape, Gpu& gpu) {
  const bool sm90 = grouped::sm90_supports(gpu, shape.hidden, shape.ffn);
  return std::make_unique<GroupedEngine>(
      shape, gpu, grouped::make_grouped_gemm(gpu, shape.dtype, shape.hidden, shape.ffn),
      sm90 ? grouped_traits(shape) : EngineTraits{});
}

}  // namespace moebench::cuda
