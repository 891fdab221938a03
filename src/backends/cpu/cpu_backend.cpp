// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/cpu_backend.h"

#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <new>

#include "backends/cpu/blas.h"
#include "backends/cpu/engines.h"
#include "backends/cpu/expert_ffn.h"
#include "backends/cpu/peer_kernels.h"
#include "backends/cpu/stages.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "base/text.h"

namespace moebench {
namespace {

constexpr std::align_val_t kAlignment{256};

class HostMemory final : public Memory {
 public:
  bool host_accessible() const override { return true; }
  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    void* pointer = ::operator new(bytes, kAlignment, std::nothrow);
    if (!pointer) throw MemoryError(bytes, cat("cannot allocate ", bytes, " bytes of host memory"));
    std::memset(pointer, 0, bytes);  // touched here, not inside a timed region
    count_allocation(bytes);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes) noexcept override {
    ::operator delete(pointer, kAlignment);
    count_deallocation(bytes);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override { copy(host, device, bytes); }
  void copy_from_host(void* device, const void* host, std::size_t bytes) override {
    copy(device, host, bytes);
  }
  std::size_t available_bytes() const override { return available_host_bytes(); }

 private:
  static void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
};

class HostTimestamps final : public Timestamps {
 public:
  explicit HostTimestamps(int count) : times_(static_cast<std::size_t>(count)) {}
  void record(int index) override { times_[static_cast<std::size_t>(index)] = Clock::now(); }
  double elapsed_us(int from, int to) const override {
    return std::chrono::duration<double, std::micro>(times_[static_cast<std::size_t>(to)] -
                                                     times_[static_cast<std::size_t>(from)])
        .count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> times_;
};

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.starts_with("model name")) return std::string(trimmed(line.substr(line.find(':') + 1)));
  return "unknown processor";
}

DeviceInfo describe(int threads) {
  const long cache =
      sysconf(_SC_LEVEL3_CACHE_SIZE) > 0 ? sysconf(_SC_LEVEL3_CACHE_SIZE) : sysconf(_SC_LEVEL2_CACHE_SIZE);
  return {.name = processor_name(),
          .kind = "cpu",
          .units = threads,
          .memory_bytes = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                          static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE)),
          .cache_bytes = cache > 0 ? static_cast<std::size_t>(cache) : std::size_t{32} << 20,
          .versions = {{"openblas", cpu::blas_version()}}};
}

/// `Base`: Capabilities, or a Backend that has them.
template <class Base>
class OnCpu : public Base {
 public:
  using Base::why_not;
  std::string_view name() const override { return "cpu"; }
  bool supports(DType dtype) const override { return dtype == DType::fp32; }
  bool has_threads() const override { return true; }
  std::vector<std::string> engines() const override { return cpu::engine_names(); }
  EngineTraits traits(std::string_view engine, const EngineShape&) const override {
    return cpu::engine_traits(engine);
  }
  std::string why_not(std::string_view engine, const EngineShape& shape) const override {
    return cpu::why_not(engine, shape);
  }
};

class CpuBackend final : public OnCpu<Backend> {
 public:
  CpuBackend(int threads, std::chrono::microseconds spin)
      : threads_(threads), spin_(spin), device_(describe(threads)) {
    cpu::use_one_blas_thread();
    use_threads(0);
  }

  /// Pools stay: cases of several numbers may take turns, and threads without a loop sleep.
  void use_threads(int threads) override {
    const int count = threads > 0 ? threads : threads_;
    auto& pool = pools_[count];
    if (!pool)
      pool = std::make_unique<ThreadPool>(count, count <= threads_ ? spin_ : std::chrono::microseconds{});
    pool_ = pool.get();
  }

  const DeviceInfo& device() const override { return device_; }
  Memory& memory() override { return memory_; }
  StreamView stream() const override { return {}; }
  std::string math(DType) const override { return "fp32 SIMD, fp32 accumulation"; }

  std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape) override {
    return cpu::make_engine(name, shape, *pool_, memory_);
  }
  std::unique_ptr<Timestamps> make_timestamps(int count) override {
    return std::make_unique<HostTimestamps>(count);
  }
  void synchronize() override {}

  void fill(TensorView tensor, const UniformField& field, std::int64_t first) override {
    each(tensor, [&](float* values, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) values[i] = field.at(static_cast<std::uint64_t>(first + i));
    });
  }
  void poison(TensorView tensor) override {
    each(tensor, [](float* values, std::int64_t begin, std::int64_t end) {
      std::fill(values + begin, values + end, std::numeric_limits<float>::quiet_NaN());
    });
  }
  void upload(TensorView tensor, std::span<const float> host) override {
    MB_ASSERT(std::ssize(host) == tensor.size());
    memory_.copy_from_host(tensor.data, host.data(), host.size_bytes());
  }
  void download(std::span<float> host, TensorView tensor) override {
    MB_ASSERT(std::ssize(host) == tensor.size());
    memory_.copy_to_host(host.data(), tensor.data, host.size_bytes());
  }

  void gate(const GateForward& args) override { cpu::gate_forward(*pool_, args); }
  void gate(const GateBackward& args) override { cpu::gate_backward(*pool_, args); }
  void limit(const LimitRows& args) override { cpu::limit(*pool_, args); }
  void plan(const PlanArgs& args) override { cpu::plan(args); }
  void pack(const PackForward& args) override { cpu::pack_forward(*pool_, args); }
  void pack(const PackBackward& args) override { cpu::pack_backward(*pool_, args); }
  void regroup(const Regroup& args) override { cpu::regroup(*pool_, args); }
  void combine(const CombineForward& args) override { cpu::combine_forward(*pool_, args); }
  void combine(const CombineBackward& args) override { cpu::combine_backward(*pool_, args); }

  std::unique_ptr<PeerKernels> make_peer_kernels(const PeerGroup& group) override {
    return cpu::make_peer_kernels(group, *pool_);
  }

  void gemm(TensorView a, TensorView b, TensorView c) override {
    cpu::gemm(*pool_, {a.as<float>(), a.rows, a.cols}, {b.as<float>(), b.rows, b.cols}, c.as<float>());
  }
  void activate(Activation activation, TensorView in, TensorView out) override {
    pool_->parallel_for(in.rows, 4, [&](std::int64_t begin, std::int64_t end) {
      cpu::activate_rows(activation, end - begin, out.cols, in.as<float>() + begin * in.cols,
                         out.as<float>() + begin * out.cols);
    });
  }
  void add(TensorView from, TensorView to) override {
    each(to, [&](float* values, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) values[i] += from.as<float>()[i];
    });
  }
  void copy(TensorView from, TensorView to) override {
    each(to, [&](float* values, std::int64_t begin, std::int64_t end) {
      std::memcpy(values + begin, from.as<float>() + begin,
                  static_cast<std::size_t>(end - begin) * sizeof(float));
    });
  }

 private:
  template <class Body>
  void each(const TensorView& tensor, Body body) {
    pool_->parallel_for(tensor.size(), 16384,
                        [&](std::int64_t begin, std::int64_t end) { body(tensor.as<float>(), begin, end); });
  }

  int threads_;
  std::chrono::microseconds spin_;
  std::map<int, std::unique_ptr<ThreadPool>> pools_;  // by the number of their threads
  ThreadPool* pool_ = nullptr;                        // the one in use
  HostMemory memory_;
  DeviceInfo device_;
};

}  // namespace

const Capabilities& cpu_capabilities() {
  static const OnCpu<Capabilities> kCapabilities;
  return kCapabilities;
}

std::unique_ptr<Backend> make_cpu_backend(int threads, std::chrono::microseconds spin) {
  return std::make_unique<CpuBackend>(threads, spin);
}

}  // namespace moebench
