// SPDX-License-Identifier: Apache-2.0
// A backend that stores tensors in the format asked for, bf16 too, computes in fp32 on the CPU, and makes mistakes
// where a test asks for them.
#pragma once

#include <bit>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "backends/cpu/cpu_backend.h"

namespace moebench {

/// Mistakes. All tensors that they see are fp32. Each is called in every layer but where it says otherwise.
struct Faults {
  std::function<void(CombineForward&)> before_combine;                     ///< may put other scores in place
  std::function<void(const CombineForward&)> after_combine;                ///< may change y
  std::function<void(const PackForward&, const PackForward&)> after_pack;  ///< now, and as it was before
  std::function<void(const PackBackward&)> after_pack_back;                ///< may change dx
  std::string engine = "loop";  ///< the only one whose experts go wrong
  std::function<void(std::vector<std::int32_t>& offsets)> offsets;
  std::function<void(const ExpertTensors& gradients)> gradients;
};

/// An fp32 copy of a tensor, written back where asked.
class Widened {
 public:
  Widened(Memory& memory, const TensorView& tensor, bool read = true)
      : tensor_(tensor), wide_(memory, DType::fp32, tensor.rows, tensor.cols) {
    if (!tensor.data) return;
    if (read) load(tensor, view().as<float>());
  }
  TensorView view() const { return tensor_.data ? wide_.view() : TensorView{}; }
  void write_back() const {
    if (tensor_.data) store(view().as<float>(), tensor_);
  }

  static void load(const TensorView& from, float* to) {
    for (std::int64_t i = 0; i < from.size(); ++i)
      to[i] = size_of(from.dtype) == 4
                  ? from.as<float>()[i]
                  : std::bit_cast<float>(std::uint32_t{from.as<std::uint16_t>()[i]} << 16);
  }
  static void store(const float* from, const TensorView& to) {
    for (std::int64_t i = 0; i < to.size(); ++i) {
      const float rounded = round_to(to.dtype, from[i]);
      if (size_of(to.dtype) == 4)
        to.as<float>()[i] = rounded;
      else
        to.as<std::uint16_t>()[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(rounded) >> 16);
    }
  }

 private:
  TensorView tensor_;
  Tensor wide_;
};

struct WidenedExperts {
  WidenedExperts(Memory& memory, const ExpertTensors& tensors, bool read)
      : w1(memory, tensors.w1, read),
        b1(memory, tensors.b1, read),
        w2(memory, tensors.w2, read),
        b2(memory, tensors.b2, read) {}
  ExpertTensors views() const { return {w1.view(), b1.view(), w2.view(), b2.view()}; }
  void write_back() const {
    for (const Widened* tensor : {&w1, &b1, &w2, &b2}) tensor->write_back();
  }
  Widened w1, b1, w2, b2;
};

class FaultyEngine final : public Engine {
 public:
  FaultyEngine(std::unique_ptr<Engine> inner, Memory& memory, const Faults* faults)
      : inner_(std::move(inner)), memory_(memory), faults_(faults) {}
  EngineTraits traits() const override { return inner_->traits(); }
  void reserve(std::int64_t rows) override { inner_->reserve(rows); }
  void forward(const ExpertsForward& args) override {
    x_ = std::make_unique<Widened>(memory_, args.x);
    weights_ = std::make_unique<WidenedExperts>(memory_, args.weights, true);
    offsets_.assign(args.offsets.begin(), args.offsets.end());
    if (faults_ && faults_->offsets) faults_->offsets(offsets_);
    const Widened out(memory_, args.out);
    forward_ = args;
    forward_.x = x_->view();
    forward_.weights = weights_->views();
    forward_.offsets = offsets_;
    forward_.out = out.view();
    inner_->forward(forward_);
    out.write_back();
  }
  void backward(const ExpertsBackward& args) override {
    const Widened dout(memory_, args.dout), dx(memory_, args.dx);
    const WidenedExperts gradients(memory_, args.gradients, true);
    inner_->backward(
        {.forward = forward_, .dout = dout.view(), .dx = dx.view(), .gradients = gradients.views()});
    if (faults_ && faults_->gradients) faults_->gradients(gradients.views());
    dx.write_back();
    gradients.write_back();
  }

 private:
  std::unique_ptr<Engine> inner_;
  Memory& memory_;
  const Faults* faults_;  ///< null for an engine that makes none
  std::unique_ptr<Widened> x_;
  std::unique_ptr<WidenedExperts> weights_;
  std::vector<std::int32_t> offsets_;
  ExpertsForward forward_;
};

class FaultyBackend final : public Backend {
 public:
  Faults faults;
  std::vector<std::string> engine_names{"loop", "naive-mask", "naive-rau"};  ///< those it says it has

  std::string_view name() const override { return "faulty"; }
  const DeviceInfo& device() const override { return inner_->device(); }
  Memory& memory() override { return inner_->memory(); }
  StreamView stream() const override { return inner_->stream(); }
  bool supports(DType dtype) const override { return dtype != DType::fp16; }
  std::string math(DType) const override { return "fp32"; }
  std::vector<std::string> engines() const override { return engine_names; }
  std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape) override {
    EngineShape wide = shape;
    wide.dtype = DType::fp32;
    return std::make_unique<FaultyEngine>(inner_->make_engine(name, wide), memory(),
                                          name == faults.engine ? &faults : nullptr);
  }
  std::unique_ptr<Timestamps> make_timestamps(int count) override { return inner_->make_timestamps(count); }
  void synchronize() override {}
  void fill(TensorView tensor, const UniformField& field, std::int64_t first) override {
    const Widened wide(memory(), tensor, false);
    inner_->fill(wide.view(), field, first);
    wide.write_back();
  }
  void poison(TensorView tensor) override {
    const std::vector<float> nothing(static_cast<std::size_t>(tensor.size()), std::nanf(""));
    Widened::store(nothing.data(), tensor);
  }
  void upload(TensorView tensor, std::span<const float> host) override {
    Widened::store(host.data(), tensor);
  }
  void download(std::span<float> host, TensorView tensor) override { Widened::load(tensor, host.data()); }

  void gate(const GateForward& args) override {
    const Widened x(memory(), args.x), weight(memory(), args.weight);
    GateForward wide = args;
    wide.x = x.view(), wide.weight = weight.view();
    inner_->gate(wide);
  }
  void gate(const GateBackward& args) override {
    const Widened x(memory(), args.x), weight(memory(), args.weight), dx(memory(), args.dx),
        dweight(memory(), args.dweight);
    GateBackward wide = args;
    wide.x = x.view(), wide.weight = weight.view(), wide.dx = dx.view(), wide.dweight = dweight.view();
    inner_->gate(wide);
    dx.write_back();
    dweight.write_back();
  }
  void limit(const LimitRows& args) override { inner_->limit(args); }
  void plan(const PlanArgs& args) override { inner_->plan(args); }
  void pack(const PackForward& args) override {
    const Widened x(memory(), args.x), rows(memory(), args.rows), before(memory(), args.rows);
    PackForward wide = args, held = args;
    wide.x = x.view(), wide.rows = rows.view(), held.rows = before.view();
    inner_->pack(wide);
    if (faults.after_pack) faults.after_pack(wide, held);
    rows.write_back();
  }
  void regroup(const Regroup& args) override { inner_->regroup(args); }
  void pack(const PackBackward& args) override {
    const Widened drows(memory(), args.drows), dx(memory(), args.dx);
    PackBackward wide = args;
    wide.drows = drows.view(), wide.dx = dx.view();
    inner_->pack(wide);
    if (faults.after_pack_back) faults.after_pack_back(wide);
    dx.write_back();
  }
  void combine(const CombineForward& args) override {
    const Widened rows(memory(), args.rows), y(memory(), args.y);
    CombineForward wide = args;
    wide.rows = rows.view(), wide.y = y.view();
    if (faults.before_combine) faults.before_combine(wide);
    inner_->combine(wide);
    if (faults.after_combine) faults.after_combine(wide);
    y.write_back();
  }
  void combine(const CombineBackward& args) override {
    const Widened dy(memory(), args.dy), rows(memory(), args.rows), drows(memory(), args.drows);
    CombineBackward wide = args;
    wide.dy = dy.view(), wide.rows = rows.view(), wide.drows = drows.view();
    inner_->combine(wide);
    drows.write_back();
  }
  void gemm(TensorView, TensorView, TensorView) override {}
  void activate(Activation, TensorView, TensorView) override {}
  void add(TensorView from, TensorView to) override {
    const Widened wide_from(memory(), from), wide_to(memory(), to);
    inner_->add(wide_from.view(), wide_to.view());
    wide_to.write_back();
  }
  void copy(TensorView, TensorView) override {}

 private:
  std::unique_ptr<Backend> inner_ = make_cpu_backend(1);
};

}  // namespace moebench
