// SPDX-License-Identifier: Apache-2.0
// Rates of the grouped engine's products beside one cuBLAS product of all rows, and one after the other of each expert's
// rows: the engine `loop` without all that is not a product. For work on them: read what it prints. usage:
// moebench_grouped_rates [portable|fp32|tf32] [rows hidden ffn experts [swiglu]]. Rows are dealt to experts at random. bf16
// unless said; `portable` takes the portable GEMM where Hopper's can too.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/grouped/grouped_gemm.h"
#include "backends/cuda/grouped/schedule.h"
#include "base/error.h"

namespace moebench {
namespace {

using cuda::grouped::EpilogueOp;
using cuda::grouped::GemmKind;
using cuda::grouped::GroupedGemmArgs;

struct Sizes {
  std::int64_t rows, hidden, ffn, experts;
  bool swiglu;
};

double median_us(cuda::Gpu& gpu, const std::function<void()>& work) {
  constexpr int kRepeats = 30;
  const cuda::Event begin = cuda::make_event(true), end = cuda::make_event(true);
  for (int i = 0; i < 5; ++i) work();
  std::vector<float> ms(kRepeats);
  for (float& time : ms) {
    gpu.blocking.block();
    MB_CUDA(cudaEventRecord(begin.get(), gpu.stream.get()));
    work();
    MB_CUDA(cudaEventRecord(end.get(), gpu.stream.get()));
    gpu.blocking.unblock();
    MB_CUDA(cudaStreamSynchronize(gpu.stream.get()));
    MB_CUDA(cudaEventElapsedTime(&time, begin.get(), end.get()));
  }
  std::nth_element(ms.begin(), ms.begin() + kRepeats / 2, ms.end());
  return 1e3 * ms[kRepeats / 2];
}

class Rates {
 public:
  Rates(Backend& backend, cuda::Gpu& gpu, const Sizes& sizes, DType dtype, bool portable)
      : s_(sizes),
        dtype_(dtype),
        portable_(portable),
        w1_(sizes.swiglu ? 2 * sizes.ffn : sizes.ffn),
        backend_(backend),
        gpu_(gpu),
        gemm_(portable ? cuda::grouped::make_portable_grouped_gemm(gpu)
                       : cuda::grouped::make_grouped_gemm(gpu, dtype, sizes.hidden, sizes.ffn)),
        offsets_(backend.memory(), static_cast<std::size_t>(sizes.experts + 1) * 4),
        slot_of_(backend.memory(), static_cast<std::size_t>(sizes.rows) * 4) {
    std::mt19937 random(1);
    std::vector<std::int32_t> counts(static_cast<std::size_t>(s_.experts));
    for (std::int64_t r = 0; r < s_.rows; ++r) ++counts[random() % counts.size()];
    for (const std::int32_t count : counts) bounds_.push_back(bounds_.back() + count);
    backend.memory().copy_from_host(offsets_.data(), bounds_.data(), bounds_.size() * 4);
    std::vector<std::int32_t> slots(static_cast<std::size_t>(s_.rows));
    std::iota(slots.begin(), slots.end(), 0);
    std::shuffle(slots.begin(), slots.end(), random);
    for (std::size_t e = 1; e < bounds_.size(); ++e)
      std::sort(slots.begin() + bounds_[e - 1], slots.begin() + bounds_[e]);
    backend.memory().copy_from_host(slot_of_.data(), slots.data(), slots.size() * 4);
  }

  void measure() {
    const Tensor x = random(s_.rows, s_.hidden, 0.5f), w1 = random(s_.experts * s_.hidden, w1_, 0.05f),
                 w2 = random(s_.experts * s_.ffn, s_.hidden, 0.05f), pre = random(s_.rows, w1_, 1),
                 act = random(s_.rows, s_.ffn, 1), out = random(s_.rows, s_.hidden, 1),
                 dout = random(s_.rows, s_.hidden, 1), dpre = random(s_.rows, w1_, 1),
                 dx = random(s_.rows, s_.hidden, 1), dw1 = random(s_.experts * s_.hidden, w1_, 1),
                 dw2 = random(s_.experts * s_.ffn, s_.hidden, 1);
    const Activation activation = s_.swiglu ? Activation::swiglu : Activation::gelu;
    const std::int64_t h = s_.hidden, f = s_.ffn;
    std::printf("%lld rows, hidden %lld, ffn %lld, %lld experts, %s\n", static_cast<long long>(s_.rows),
                static_cast<long long>(h), static_cast<long long>(f), static_cast<long long>(s_.experts),
                s_.swiglu ? "swiglu" : "gelu");
    line("up and activation", h, w1_,
         {.kind = GemmKind::fprop,
          .a = x,
          .b = w1,
          .out = act,
          .epilogue = EpilogueOp::activate,
          .activation = activation,
          .pre = pre});
    line("down", f, h, {.kind = GemmKind::fprop, .a = act, .b = w2, .out = out});
    line("dact and dpre", h, f,
         {.kind = GemmKind::dgrad,
          .a = dout,
          .b = w2,
          .out = dpre,
          .epilogue = EpilogueOp::differentiate,
          .activation = activation,
          .pre = pre});
    line("dx", w1_, h, {.kind = GemmKind::dgrad, .a = dpre, .b = w1, .out = dx});
    line("dw2", f, h, {.kind = GemmKind::wgrad, .a = act, .b = dout, .out = dw2});
    line("dw1", h, w1_, {.kind = GemmKind::wgrad, .a = x, .b = dpre, .out = dw1});
    if (portable_ || size_of(dtype_) == 4) return;  // the rest is only Hopper's
    const Tensor dots(backend_.memory(), DType::fp32, s_.rows,
                      cuda::grouped::dscore_partials_per_row(static_cast<int>(f))),
        tokens = random(s_.rows / kTopK, h, 0.5f);
    line("dact, and dots", h, f,
         {.kind = GemmKind::dgrad,
          .a = dout,
          .b = w2,
          .out = dpre,
          .epilogue = EpilogueOp::differentiate,
          .activation = activation,
          .pre = pre,
          .dscore_partials = dots.view().as<float>()});
    if (s_.swiglu)
      line("up from tokens", h, w1_,
           {.kind = GemmKind::fprop,
            .a = tokens,
            .b = w1,
            .out = act,
            .epilogue = EpilogueOp::activate,
            .activation = activation,
            .slot_of = slot_of_.as<std::int32_t>(),
            .top_k = kTopK});
  }

 private:
  Tensor random(std::int64_t rows, std::int64_t cols, float scale) {
    Tensor tensor(backend_.memory(), dtype_, rows, cols);
    backend_.fill(tensor, {++key_, scale}, 0);
    backend_.synchronize();
    return tensor;
  }
  /// 2·rows·a·b operations; beside one product [rows, a] · [a, b].
  void line(const char* name, std::int64_t a, std::int64_t b, GroupedGemmArgs product) {
    product.offsets = offsets_.as<std::int32_t>();
    product.experts = s_.experts;
    const double flops = 2.0 * static_cast<double>(s_.rows) * static_cast<double>(a) * static_cast<double>(b);
    const Tensor left = random(s_.rows, a, 1), right = random(a, b, 1), out = random(s_.rows, b, 1);
    const double ours = median_us(gpu_, [&] { gemm_->run(product); });
    const double dense = median_us(gpu_, [&] {
      gpu_.blas.multiply({.a = {left.view().data, s_.rows, a},
                          .b = {right.view().data, a, b},
                          .dtype = dtype_,
                          .c = out.view().data,
                          .c_dtype = dtype_});
    });
    const double loop = median_us(gpu_, [&] {
      for (std::int64_t e = 0; e < s_.experts; ++e) gpu_.blas.multiply(of_expert(product, e, out));
    });
    std::printf(
        "  %-18s %9.1f us %7.1f TFLOP/s   dense %9.1f us %7.1f TFLOP/s %6.1f %%   loop %9.1f us %7.1f "
        "TFLOP/s\n",
        name, ours, flops / ours * 1e-6, dense, flops / dense * 1e-6, 100 * dense / ours, loop,
        flops / loop * 1e-6);
  }
  /// This expert's part of the product by cuBLAS, rows into `rows_out`.
  cuda::GemmArgs of_expert(const GroupedGemmArgs& product, std::int64_t e, const TensorView& rows_out) const {
    const auto part = [](const TensorView& all, std::int64_t from, std::int64_t rows) {
      return cuda::matrix_of(
          all.slice(std::min(from, all.rows - rows), rows));  // as many rows where they would be gathered
    };
    const std::int64_t first = bounds_[static_cast<std::size_t>(e)],
                       rows = bounds_[static_cast<std::size_t>(e) + 1] - first;
    const cuda::Matrix left = part(product.a, first, rows);
    if (product.kind == GemmKind::wgrad) {
      const std::int64_t m = product.a.cols;
      return {.a = cuda::transposed(left),
              .b = part(product.b, first, rows),
              .dtype = dtype_,
              .c = product.out.slice(e * m, m).data,
              .c_dtype = dtype_};
    }
    const std::int64_t k = product.b.rows / s_.experts;
    const cuda::Matrix right = part(product.b, e * k, k);
    return {.a = left,
            .b = product.kind == GemmKind::dgrad ? cuda::transposed(right) : right,
            .dtype = dtype_,
            .c = rows_out.slice(first, rows).data,
            .c_dtype = dtype_};
  }

  static constexpr std::int64_t kTopK = 8;

  Sizes s_;
  DType dtype_;
  bool portable_;
  std::int64_t w1_;
  Backend& backend_;
  cuda::Gpu& gpu_;
  std::unique_ptr<cuda::grouped::GroupedGemm> gemm_;
  Buffer offsets_, slot_of_;
  std::vector<std::int32_t> bounds_{0};  ///< the same on the host
  std::uint64_t key_ = 0;
};

}  // namespace
}  // namespace moebench

int main(int argc, char** argv) {
  using namespace moebench;
  try {
    const std::string_view word = argc > 1 ? argv[1] : "";
    const bool portable = word == "portable", fp32 = word == "fp32" || word == "tf32";
    const DType dtype = fp32 ? parse_dtype(word) : DType::bf16;
    if (portable || fp32) --argc, ++argv;
    std::vector<Sizes> all{{8192, 1024, 4096, 8, false},
                           {8192, 1024, 4096, 32, false},
                           {8192, 1024, 4096, 64, false},
                           {196608, 1536, 256, 128, true},
                           {16384, 4096, 14336, 8, true}};
    if (argc > 4)
      all = {{std::atoll(argv[1]), std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4]), argc > 5}};
    const auto backend = make_cuda_backend(0);
    cuda::Gpu gpu(0);
    std::printf("%s, %s%s\n", backend->device().name.c_str(), std::string(name_of(dtype)).c_str(),
                portable ? ", portable" : "");
    for (const Sizes& sizes : all) Rates(*backend, gpu, sizes, dtype, portable).measure();
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "moebench_grouped_rates: %s\n", error.what());
    return static_cast<int>(error.code());
  }
}
