// SPDX-License-Identifier: Apache-2.0
// The engine `grouped`: all experts in one launch per product, two products forward and four backward, with
// nothing known on the host but the number of rows.
#include "backends/cuda/engines/engines.h"
#include "backends/cuda/grouped/product.h"
#include "backends/cuda/grouped/schedule.h"
#include "backends/cuda/stages/kernels.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench::cuda {
namespace {

using grouped::After;
using grouped::Form;

/// What of the stages around the experts is done on the way.
struct Fusion {
  bool pack = false, dscore = false;
};

/// Both only where rows do not travel, and where experts are so narrow that the bytes around them weigh. Rows are packed
/// nevertheless if a gradient will be summed over them: gathering them once more would cost what it saves. With biases
/// dscore is not <dact, act>.
Fusion fusion_of(const EngineShape& shape) {
  if (!shape.alone) return {};
  return {
      .pack = !shape.backward && shape.activation == Activation::swiglu && grouped::gathers_rows(shape.ffn),
      .dscore = shape.backward && !shape.bias && grouped::sums_dots(shape.ffn)};
}

class GroupedEngine final : public Engine {
 public:
  GroupedEngine(const EngineShape& shape, Gpu& gpu, std::unique_ptr<grouped::Multiplier> multiplier,
                const Fusion& fusion)
      : gpu_(gpu), shape_(shape), multiplier_(std::move(multiplier)), fusion_(fusion) {
    for (Tensor* tensor : {&pre_, &dpre_}) *tensor = Tensor(gpu.memory, shape.dtype, 0, shape.w1_cols());
    act_ = Tensor(gpu.memory, shape.dtype, 0, shape.ffn);
    dots_ = Tensor(gpu.memory, DType::fp32, 0, grouped::dots_of(static_cast<int>(shape.ffn)));
  }

  EngineTraits traits() const override {
    return {.gathers_input = fusion_.pack, .computes_dscore = fusion_.dscore};
  }

  void reserve(std::int64_t rows) override {
    if (rows <= act_.view().rows) return;
    act_.set_rows(rows);
    if (!shape_.backward) return;
    pre_.set_rows(rows);
    dpre_.set_rows(rows);
    if (fusion_.dscore) dots_.set_rows(rows);
  }

  void forward(const ExpertsForward& args) override {
    const std::int64_t n = args.out.rows;
    const ExpertTensors& w = args.weights;
    run({.form = Form::forward,
         .left = args.x,
         .right = w.w1,
         .out = first(act_, n),
         .after = After::activate,
         .bias = w.b1,
         .pre = shape_.backward ? first(pre_, n) : TensorView{},
         .slot_of = fusion_.pack ? args.slot_of.data() : nullptr,
         .top_k = shape_.top_k},
        args);
    run({.form = Form::forward, .left = first(act_, n), .right = w.w2, .out = args.out, .bias = w.b2}, args);
  }

  void backward(const ExpertsBackward& args) override {
    const ExpertsForward& forward = args.forward;
    const std::int64_t n = args.dout.rows;
    const TensorView dpre = first(dpre_, n);
    run({.form = Form::transposed,
         .left = args.dout,
         .right = forward.weights.w2,
         .out = dpre,
         .after = After::differentiate,
         .pre = first(pre_, n),
         .dots = fusion_.dscore ? dots_.view().as<float>() : nullptr},
        forward);
    if (fusion_.dscore)
      collect_dots(gpu_.stream.get(), dots_.view().as<float>(), dots_.view().cols, args.scores);
    run({.form = Form::transposed, .left = dpre, .right = forward.weights.w1, .out = args.dx}, forward);
    run({.form = Form::gradient, .left = first(act_, n), .right = args.dout, .out = args.gradients.w2},
        forward);
    run({.form = Form::gradient, .left = forward.x, .right = dpre, .out = args.gradients.w1}, forward);
    if (!shape_.bias) return;
    sum_columns(gpu_.stream.get(), forward.offsets.data(), args.dout, args.gradients.b2, false);
    sum_columns(gpu_.stream.get(), forward.offsets.data(), dpre, args.gradients.b1, false);
  }

 private:
  static TensorView first(const Tensor& tensor, std::int64_t rows) { return tensor.view().slice(0, rows); }
  /// What all products of a pass have in common is filled in here.
  void run(grouped::Product product, const ExpertsForward& pass) {
    product.offsets = pass.offsets.data();
    product.experts = shape_.experts;
    product.activation = shape_.activation;
    multiplier_->run(product);
  }

  Gpu& gpu_;
  EngineShape shape_;
  std::unique_ptr<grouped::Multiplier> multiplier_;
  Fusion fusion_;
  Tensor pre_, act_, dpre_;  ///< [rows, F or 2F], [rows, F], as pre
  Tensor dots_;              ///< [rows, dots_of(F)], see Product::dots
};

}  // namespace

std::unique_ptr<Engine> make_grouped_engine(const EngineShape& shape, Gpu& gpu) {
  if (!grouped::sm90_can(gpu, shape.hidden, shape.ffn))
    return std::make_unique<GroupedEngine>(shape, gpu, grouped::make_portable_multiplier(gpu), Fusion{});
  return std::make_unique<GroupedEngine>(shape, gpu, grouped::make_sm90_multiplier(gpu), fusion_of(shape));
}

}  // namespace moebench::cuda
