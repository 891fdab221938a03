// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_backend.h"

#include <cuda_profiler_api.h>

#include <algorithm>

#include "backends/cuda/engines/engines.h"
#include "backends/cuda/exchange/peer_kernels.h"
#include "backends/cuda/runtime/device_info.h"
#include "backends/cuda/runtime/gpu.h"
#include "backends/cuda/runtime/graph.h"
#include "backends/cuda/runtime/nvml.h"
#include "backends/cuda/runtime/timestamps.h"
#include "backends/cuda/stages/kernels.h"
#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

/// `Base`: Capabilities, or a Backend that has them.
template <class Base>
class OnCuda : public Base {
 public:
  std::string_view name() const override { return "cuda"; }
  bool supports(DType) const override { return true; }
  std::vector<std::string> engines() const override { return cuda::engine_names(); }
  EngineTraits traits(std::string_view engine, const EngineShape& shape) const override {
    return cuda::engine_traits(engine, shape);
  }
  std::string best_engine(const Shape& shape) const override { return cuda::best_engine(shape); }
  std::string best_engine_rule() const override { return cuda::best_engine_rule(); }
  bool has_graphs() const override { return true; }
  std::string why_not(std::string_view engine, const EngineShape& shape) const override {
    return cuda::why_not(engine, shape);
  }
  std::string why_not(const Shape& shape) const override {
    if (shape.experts <= cuda::kMaxExperts) return {};
    return cat("backend cuda plans for at most ", cuda::kMaxExperts, " experts, not ", shape.experts);
  }
};

class CudaBackend final : public OnCuda<Backend> {
 public:
  explicit CudaBackend(int device)
      : gpu_(device),
        device_(cuda::describe(device)),
        plan_scratch_(gpu_.memory, 0),
        wide_rows_(gpu_.memory, 0) {
    device_.versions.emplace_back("cublas", gpu_.blas.version());
    sensors_ = cuda::make_sensors(cuda::nvml(), cuda::pci_bus_id(device), why_no_sensors_);
  }

  const DeviceInfo& device() const override { return device_; }
  Memory& memory() override { return gpu_.memory; }
  StreamView stream() const override { return {gpu_.stream.get()}; }
  std::string math(DType dtype) const override {
    return std::string(name_of(dtype)) + (dtype == DType::fp32 ? " SIMT" : " tensor cores") + ", " +
           std::string(format_info(dtype).accumulation) + " accumulation";
  }

  std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape) override {
    return cuda::make_engine(name, shape, gpu_);
  }
  std::unique_ptr<Timestamps> make_timestamps(int count) override {
    return std::make_unique<cuda::EventTimestamps>(gpu_.stream.get(), count);
  }
  void synchronize() override {
    gpu_.blocking.unblock();
    MB_CUDA(cudaStreamSynchronize(gpu_.stream.get()));
  }
  void hold() override { gpu_.blocking.block(); }
  void release() override { gpu_.blocking.unblock(); }
  void profile(bool open) override {
    synchronize();
    MB_CUDA(open ? cudaProfilerStart() : cudaProfilerStop());
  }
  std::unique_ptr<Graph> capture(const std::function<void()>& work) override {
    synchronize();
    return cuda::capture(gpu_.stream.get(), work);
  }

  Sensors* sensors() override { return sensors_.get(); }
  std::string why_no_sensors() const override { return why_no_sensors_; }

  void fill(TensorView tensor, const UniformField& field, std::int64_t first) override {
    cuda::fill(gpu_.stream.get(), tensor, field, first);
  }
  void poison(TensorView tensor) override {
    constexpr int kAllOnes = 0xFF;  // a NaN in every format
    if (tensor.bytes() > 0)
      MB_CUDA(cudaMemsetAsync(tensor.data, kAllOnes, tensor.bytes(), gpu_.stream.get()));
  }
  void upload(TensorView tensor, std::span<const float> host) override;
  void download(std::span<float> host, TensorView tensor) override;

  void gate(const GateForward& args) override;
  void gate(const GateBackward& args) override;
  void limit(const LimitRows& args) override { cuda::limit(gpu_.stream.get(), args); }
  void plan(const PlanArgs& args) override;
  void pack(const PackForward& args) override { cuda::pack(gpu_.stream.get(), args); }
  void pack(const PackBackward& args) override { cuda::pack(gpu_.stream.get(), args); }
  void regroup(const Regroup& args) override { cuda::regroup(gpu_.stream.get(), args); }
  void combine(const CombineForward& args) override { cuda::combine(gpu_.stream.get(), args); }
  void combine(const CombineBackward& args) override { cuda::combine(gpu_.stream.get(), args); }

  std::unique_ptr<PeerKernels> make_peer_kernels(const PeerGroup& group) override {
    return cuda::make_peer_kernels(group, gpu_);
  }

  void gemm(TensorView a, TensorView b, TensorView c) override {
    gpu_.blas.multiply({.a = cuda::matrix_of(a),
                        .b = cuda::matrix_of(b),
                        .dtype = a.dtype,
                        .c = c.data,
                        .c_dtype = c.dtype});
  }
  void activate(Activation activation, TensorView in, TensorView out) override {
    cuda::activate(gpu_.stream.get(), activation, in, out);
  }
  void add(TensorView from, TensorView to) override {
    MB_ASSERT(from.rows == to.rows && from.cols == to.cols);
    cuda::add(gpu_.stream.get(), from, to);
  }
  void copy(TensorView from, TensorView to) override {
    MB_ASSERT(from.bytes() == to.bytes());
    if (to.bytes() > 0)
      MB_CUDA(cudaMemcpyAsync(to.data, from.data, to.bytes(), cudaMemcpyDeviceToDevice, gpu_.stream.get()));
  }

 private:
  template <class Work>
  void each_part(const TensorView& tensor, Work work);
  TensorView in_format(DType dtype, TensorView x);
  TensorView wide_rows(const TensorView& x);

  cuda::Gpu gpu_;
  DeviceInfo device_;
  std::unique_ptr<Sensors> sensors_;
  std::string why_no_sensors_;
  Buffer plan_scratch_;  ///< grows in the first step, never after
  Buffer wide_rows_;     ///< likewise, with a gate in fp32 of 16-bit rows
};

/// 16-bit tensors cross the bus as fp32, a part at a time: work(first element, part of the tensor, fp32 view
/// of a buffer).
template <class Work>
void CudaBackend::each_part(const TensorView& tensor, Work work) {
  constexpr std::int64_t kMax = std::int64_t{1} << 24;  // 64 MiB of fp32
  const std::int64_t max = std::min(tensor.size(), kMax);
  const Buffer staging(gpu_.memory, static_cast<std::size_t>(max) * sizeof(float));
  for (std::int64_t first = 0; first < tensor.size(); first += max) {
    const std::int64_t count = std::min(max, tensor.size() - first);
    const TensorView flat{tensor.data, tensor.dtype, tensor.size(), 1};
    work(first, flat.slice(first, count), TensorView{staging.data(), DType::fp32, count, 1});
  }
}

void CudaBackend::upload(TensorView tensor, std::span<const float> host) {
  MB_ASSERT(std::ssize(host) == tensor.size());
  if (size_of(tensor.dtype) == 4)
    return gpu_.memory.copy_from_host(tensor.data, host.data(), host.size_bytes());
  each_part(tensor, [&](std::int64_t first, const TensorView& part, const TensorView& staging) {
    gpu_.memory.copy_from_host(staging.data, host.data() + first, staging.bytes());
    cuda::convert(gpu_.stream.get(), staging, part);
  });
  synchronize();
}

void CudaBackend::download(std::span<float> host, TensorView tensor) {
  MB_ASSERT(std::ssize(host) == tensor.size());
  if (size_of(tensor.dtype) == 4)
    return gpu_.memory.copy_to_host(host.data(), tensor.data, host.size_bytes());
  each_part(tensor, [&](std::int64_t first, const TensorView& part, const TensorView& staging) {
    cuda::convert(gpu_.stream.get(), part, staging);
    gpu_.memory.copy_to_host(host.data() + first, staging.data, staging.bytes());
  });
}

void CudaBackend::gate(const GateForward& args) {
  const bool has_noise = args.rule.noise.deviation > 0;
  if (!has_noise && cuda::gate_in_one(gpu_.stream.get(), args)) return;
  gpu_.blas.multiply({.a = cuda::matrix_of(in_format(args.weight.dtype, args.x)),
                      .b = cuda::matrix_of(args.weight),
                      .dtype = args.weight.dtype,
                      .c = args.logits.data(),
                      .c_dtype = DType::fp32});
  if (has_noise) cuda::perturb(gpu_.stream.get(), args);
  if (args.rule.balance.any()) cuda::balance_groups(gpu_.stream.get(), args);
  cuda::choose_experts(gpu_.stream.get(), args);
}

/// x in the format of the gate's weight: itself, or a copy in fp32, which is valid until the next one.
TensorView CudaBackend::in_format(DType dtype, TensorView x) {
  if (size_of(x.dtype) != size_of(dtype)) {
    const TensorView wide = wide_rows(x);
    cuda::convert(gpu_.stream.get(), x, wide);
    return wide;
  }
  x.dtype = dtype;
  return x;
}

/// Room for an fp32 copy of x.
TensorView CudaBackend::wide_rows(const TensorView& x) {
  wide_rows_.reserve(static_cast<std::size_t>(x.size()) * sizeof(float));
  return {wide_rows_.data(), DType::fp32, x.rows, x.cols};
}

/// The gradient of the logits is made dense in the format of the weight, in the place of the fp32 scratch: two small
/// products then read it at the tensor cores' rate, where a sparse update would read whole columns of the
/// weight per token.
void CudaBackend::gate(const GateBackward& args) {
  const TensorView dlogits{args.dlogits.data(), args.weight.dtype, args.x.rows, args.weight.cols};
  cuda::gate_softmax_backward(gpu_.stream.get(), args, dlogits);
  if (args.losses.any()) cuda::add_loss_gradients(gpu_.stream.get(), args, dlogits);
  gpu_.blas.multiply({.a = transposed(cuda::matrix_of(in_format(args.weight.dtype, args.x))),
                      .b = cuda::matrix_of(dlogits),
                      .dtype = args.weight.dtype,
                      .c = args.dweight.data,
                      .c_dtype = args.dweight.dtype});
  const bool narrows = size_of(args.dx.dtype) != size_of(args.weight.dtype);
  const TensorView sum = narrows ? wide_rows(args.dx) : args.dx;  // cuBLAS has no fp32 product into 16 bits
  gpu_.blas.multiply({.a = cuda::matrix_of(dlogits),
                      .b = transposed(cuda::matrix_of(args.weight)),
                      .dtype = args.weight.dtype,
                      .c = sum.data,
                      .c_dtype = sum.dtype,
                      .accumulate = !narrows});
  if (narrows) cuda::add(gpu_.stream.get(), sum, args.dx);
}

void CudaBackend::plan(const PlanArgs& args) {
  const auto words = cuda::plan_scratch(std::ssize(args.expert_of), std::ssize(args.counts));
  plan_scratch_.reserve(static_cast<std::size_t>(words) * sizeof(std::int32_t));
  cuda::plan(gpu_.stream.get(), args, plan_scratch_.as<std::int32_t>());
}

}  // namespace

std::string why_no_cuda() {
  std::string why;
  return cuda::count_devices(why) > 0 ? cuda::why_not(0) : why;
}

bool cuda_device_is_there() { return cuda::is_there(); }

const Capabilities& cuda_capabilities() {
  static const OnCuda<Capabilities> kCapabilities;
  return kCapabilities;
}

std::unique_ptr<Backend> make_cuda_backend(int local_rank) {
  std::string why;
  const int devices = cuda::count_devices(why);
  if (devices > 0) why = cuda::why_not(local_rank % devices);
  if (!why.empty()) throw EnvironmentError(cat("backend cuda cannot be used here: ", why));
  return std::make_unique<CudaBackend>(local_rank % devices);
}

}  // namespace moebench
