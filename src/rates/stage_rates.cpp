// SPDX-License-Identifier: Apache-2.0
// Rates of the stages that only move memory, beside the copy of 1 GiB and a copy that moves as many bytes as the stage:
// what is short takes its launch and its latency in any case. usage: moebench_stage_rates [tokens hidden ffn experts
// top_k]. The defaults are the FastMoE paper's layer.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/stages/kernels.h"
#include "base/error.h"

namespace moebench {
namespace {

struct Sizes {
  std::int64_t tokens = 4096, hidden = 1024, ffn = 4096, experts = 8, top_k = 2;
};

/// Median time of `work`, over `sets` sets of buffers in turn so that none is found in the cache.
double median_us(Backend& gpu, int sets, const std::function<void(int)>& work) {
  constexpr int kRepeats = 40;
  const auto timestamps = gpu.make_timestamps(2);
  for (int set = 0; set < sets; ++set) work(set);
  gpu.synchronize();
  std::vector<double> us;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    gpu.hold();
    timestamps->record(0);
    work(repeat % sets);
    timestamps->record(1);
    gpu.release();
    gpu.synchronize();
    us.push_back(timestamps->elapsed_us(0, 1));
  }
  std::nth_element(us.begin(), us.begin() + kRepeats / 2, us.end());
  return us[kRepeats / 2];
}

/// Copies of any size between two buffers of 1 GiB.
class Copies {
 public:
  explicit Copies(Backend& gpu)
      : gpu_(gpu),
        from_(gpu.memory(), DType::fp32, kRows, kCols),
        to_(gpu.memory(), DType::fp32, kRows, kCols) {
    gpu.fill(from_, {1, 1.0f}, 0);
  }
  /// Of a copy that reads and writes `bytes` in all, 2 GiB at most, of other memory each time if there is enough.
  double us(double bytes) const {
    const auto rows = std::clamp(static_cast<std::int64_t>(bytes / (2 * 4 * kCols)), std::int64_t{1}, kRows);
    const std::int64_t places = std::min<std::int64_t>(kRows / rows, 8);
    const auto copy = [&](int i) {
      gpu_.copy(from_.view().slice(i * rows, rows), to_.view().slice(i * rows, rows));
    };
    return median_us(gpu_, static_cast<int>(places), copy);
  }
  static constexpr double kMax = 2.0 * (std::int64_t{1} << 30);

 private:
  static constexpr std::int64_t kCols = 1024, kRows = std::int64_t{1} << 18;
  Backend& gpu_;
  Tensor from_, to_;
};

/// One stage's line: bytes are each input once and each output once.
struct Table {
  const Copies& copies;
  double copy_gbs = Copies::kMax / copies.us(Copies::kMax) * 1e-3;
  void line(const char* name, double us, double bytes) const {
    if (bytes == 0) return static_cast<void>(std::printf("  %-18s %9.1f us\n", name, us));
    const double gbs = bytes / us * 1e-3,
                 as_large = bytes > Copies::kMax ? bytes / copy_gbs * 1e-3 : copies.us(bytes);
    std::printf("  %-18s %9.1f us %9.1f GB/s %6.1f %% of copy, %6.1f %% of a copy as large\n", name, us, gbs,
                100 * gbs / copy_gbs, 100 * as_large / us);
  }
};

/// One set of buffers: everything the stages read and write.
struct Set {
  Set(Backend& gpu, const Sizes& sizes, DType dtype)
      : s(sizes),
        slots(s.tokens * s.top_k),
        indices(gpu.memory(), static_cast<std::size_t>(3 * slots + 2 * s.experts + 1) * 4),
        floats(gpu.memory(), static_cast<std::size_t>(2 * slots + 2 * s.tokens * s.experts) * 4) {
    const auto make = [&](std::int64_t height, std::int64_t width, std::uint64_t key) {
      Tensor tensor(gpu.memory(), dtype, height, width);
      gpu.fill(tensor, {key, 1.0f}, 0);
      return tensor;
    };
    for (Tensor* tensor : {&x, &dy, &y, &dx}) *tensor = make(s.tokens, s.hidden, 1);
    for (Tensor* tensor : {&rows, &out, &drows}) *tensor = make(slots, s.hidden, 2);
    for (Tensor* tensor : {&pre, &act, &dact, &dpre}) *tensor = make(slots, s.ffn, 3);
    for (Tensor* tensor : {&weight, &dweight}) *tensor = make(s.hidden, s.experts, 4);
  }
  std::span<std::int32_t> ints(std::int64_t first, std::int64_t count) const {
    return {indices.as<std::int32_t>() + first, static_cast<std::size_t>(count)};
  }
  std::span<float> numbers(std::int64_t first, std::int64_t count) const {
    return {floats.as<float>() + first, static_cast<std::size_t>(count)};
  }
  std::span<std::int32_t> expert_of() const { return ints(0, slots); }
  std::span<std::int32_t> row_of() const { return ints(slots, slots); }
  std::span<std::int32_t> slot_of() const { return ints(2 * slots, slots); }
  std::span<std::int32_t> counts() const { return ints(3 * slots, s.experts); }
  std::span<std::int32_t> offsets() const { return ints(3 * slots + s.experts, s.experts + 1); }
  std::span<float> score() const { return numbers(0, slots); }
  std::span<float> dscore() const { return numbers(slots, slots); }
  std::span<float> logits() const { return numbers(2 * slots, s.tokens * s.experts); }
  std::span<float> dlogits() const { return numbers(2 * slots + s.tokens * s.experts, s.tokens * s.experts); }
  /// [slots, F / 2] at the start of `tensor`: what SwiGLU makes of [slots, F].
  TensorView half(const Tensor& tensor) const {
    return {tensor.view().data, tensor.view().dtype, slots, s.ffn / 2};
  }

  Sizes s;
  std::int64_t slots;
  Tensor x, dy, y, dx, rows, out, drows, pre, act, dact, dpre, weight, dweight;
  Buffer indices, floats;
};

void measure(Backend& gpu, const Table& table, const Sizes& s, DType dtype) {
  const auto stream = static_cast<cudaStream_t>(gpu.stream().handle);
  const auto bytes_of = [&](std::int64_t elements) {
    return static_cast<double>(elements) * static_cast<double>(size_of(dtype));
  };
  const std::int64_t k = s.top_k;
  const double t = bytes_of(s.tokens * s.hidden), r = bytes_of(s.tokens * k * s.hidden),
               a = bytes_of(s.tokens * k * s.ffn);
  std::vector<Set> sets;
  const double wanted = 4.0 * static_cast<double>(gpu.device().cache_bytes) / (t + r);
  for (int i = 0; i < static_cast<int>(std::clamp(wanted, 1.0, 8.0)); ++i) sets.emplace_back(gpu, s, dtype);
  std::printf("%s  T %lld  H %lld  F %lld  E %lld  K %lld, %zu sets of buffers; copy of 1 GiB: %.1f GB/s\n",
              std::string(name_of(dtype)).c_str(), static_cast<long long>(s.tokens),
              static_cast<long long>(s.hidden), static_cast<long long>(s.ffn),
              static_cast<long long>(s.experts), static_cast<long long>(k), sets.size(), table.copy_gbs);
  const auto line = [&](const char* name, double bytes, auto work) {
    table.line(name,
               median_us(gpu, static_cast<int>(sets.size()),
                         [&](int i) { work(sets[static_cast<std::size_t>(i)]); }),
               bytes);
  };
  line("gate", 0, [&](Set& b) {
    gpu.gate(GateForward{b.x, b.weight, b.logits(), b.expert_of(), b.score(), k});
  });
  line("plan", 0, [&](Set& b) {
    gpu.plan({b.expert_of(), RowOrder::by_expert, b.counts(), b.offsets(), b.row_of(), {}});
  });
  line("pack", t + r, [&](Set& b) { gpu.pack(PackForward{b.x, b.row_of(), b.rows, k}); });
  line("combine", t + r, [&](Set& b) { gpu.combine(CombineForward{b.out, b.row_of(), b.score(), b.y, k}); });
  line("combine backward", t + 2 * r, [&](Set& b) {
    gpu.combine(CombineBackward{b.dy, b.out, b.row_of(), b.score(), b.drows, b.dscore(), k});
  });
  line("pack backward", t + r, [&](Set& b) { gpu.pack(PackBackward{b.drows, b.row_of(), b.dx, k}); });
  line("gate backward", 0, [&](Set& b) {
    gpu.gate(
        GateBackward{b.x, b.weight, b.expert_of(), b.score(), b.dscore(), b.dlogits(), b.dx, b.dweight, k});
  });
  line("gelu", 2 * a, [&](Set& b) { gpu.activate(Activation::gelu, b.pre, b.act); });
  line("gelu backward", 3 * a,
       [&](Set& b) { cuda::activate_backward(stream, Activation::gelu, b.pre, b.dact, b.dpre); });
  line("swiglu", 1.5 * a, [&](Set& b) { gpu.activate(Activation::swiglu, b.pre, b.half(b.act)); });
  line("swiglu backward", 2.5 * a,
       [&](Set& b) { cuda::activate_backward(stream, Activation::swiglu, b.pre, b.half(b.dact), b.dpre); });
}

}  // namespace
}  // namespace moebench

int main(int argc, char** argv) {
  using namespace moebench;
  try {
    Sizes sizes;
    std::int64_t* const fields[] = {&sizes.tokens, &sizes.hidden, &sizes.ffn, &sizes.experts, &sizes.top_k};
    for (int i = 1; i < argc && i <= 5; ++i) *fields[i - 1] = std::atoll(argv[i]);
    const auto gpu = make_cuda_backend(0);
    std::printf("%s\n", gpu->device().name.c_str());
    const Copies copies(*gpu);
    const Table table{copies};
    for (const DType dtype : {DType::bf16, DType::fp32}) measure(*gpu, table, sizes, dtype);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "moebench_stage_rates: %s\n", error.what());
    return static_cast<int>(error.code());
  }
}
