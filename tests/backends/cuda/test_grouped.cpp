// SPDX-License-Identifier: Apache-2.0
// The GEMMs of the grouped engine, one by one, by each of its kernels, against sums in double over the same
// rounded operands.
#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include "backends/cuda/grouped/grouped_gemm.h"
#include "backends/cuda/on_gpu.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench {
namespace {

using cuda::grouped::EpilogueOp;
using cuda::grouped::GemmKind;
using cuda::grouped::GroupedGemmArgs;

struct Sizes {
  const char* name;
  std::vector<std::int32_t> rows;  ///< of each expert
  std::int64_t k, n;  ///< left has k columns; the product has n (for `gradient` the product is k x n)
};

const Sizes kSizes[] = {
    {"one_row", {1}, 64, 256},
    {"one_tile", {128}, 64, 256},
    {"inner_blocks", {128}, 512, 256},
    {"two_units_wide", {128}, 128, 512},
    {"half_a_tile_of_rows", {64}, 128, 256},
    {"just_over_half", {65}, 128, 256},
    {"narrow", {100}, 8, 8},
    {"not_whole_boxes", {200}, 72, 136},
    {"experts", {3, 0, 129, 64, 200, 0, 1}, 192, 320},
    {"many_experts", std::vector<std::int32_t>(77, 5), 72, 264},
    {"none_but_one", {0, 0, 0, 300, 0}, 136, 128},
    {"every_width",
     {16, 17, 33, 49, 65, 81, 97, 113, 129, 145, 161, 177, 193, 209, 225, 241, 256, 257},
     128,
     264},
    {"many_rows", {700, 650}, 128, 1280},
    {"wide_to_ffn", {257, 272, 288, 273, 100, 289, 250, 0, 580, 256, 240, 260}, 136, 1032},
    {"wide_to_hidden", {257, 272, 288, 273, 100, 289, 250, 0, 580, 256, 240, 260}, 1032, 136},
    {"few_rows_long_sums", {90}, 4096, 256},
    {"no_row", {0, 0, 0}, 72, 136},
    {"width_one", {2, 130}, 1, 1},
    {"odd_widths", {5, 0, 70}, 17, 31},
    {"odd_widths_of_many_tiles", {127, 1, 128, 129, 0, 255}, 129, 261},
    {"odd_inner_width", {33, 140}, 31, 64},
    {"odd_outer_width", {33, 140}, 64, 31},
    {"gate_and_up_together_a_multiple_of_8", {100, 3}, 40, 12},
};

enum class Kind { sm90, portable, fp32 };
constexpr const char* kKindNames[] = {"sm90", "portable", "fp32"};

using Parameters = std::tuple<Kind, DType, Sizes>;

class Grouped : public OnGpu, public testing::WithParamInterface<Parameters> {
 protected:
  void SetUp() override {
    OnGpu::SetUp();
    if (IsSkipped()) return;
    device_ = std::make_unique<cuda::Gpu>(0);
    for (const std::int32_t rows : sizes().rows) offsets_.push_back(offsets_.back() + rows);
    const Kind kind = std::get<0>(GetParam());
    if (kind == Kind::sm90 && !cuda::grouped::sm90_supports(*device_, sizes().k, sizes().n))
      GTEST_SKIP() << "not a Hopper GPU, or widths that are not multiples of 8";
    gemm_ = kind == Kind::sm90       ? cuda::grouped::make_sm90_grouped_gemm(*device_)
            : kind == Kind::portable ? cuda::grouped::make_portable_grouped_gemm(*device_)
                                     : cuda::grouped::make_fp32_grouped_gemm(*device_);
    offsets_there_ = std::make_unique<Array<std::int32_t>>(*gpu_, offsets_);
  }
  DType dtype() const { return std::get<1>(GetParam()); }
  const Sizes& sizes() const { return std::get<2>(GetParam()); }
  std::int64_t experts() const { return std::ssize(sizes().rows); }
  std::int64_t rows() const { return offsets_.back(); }

  /// Runs it on poisoned outputs and returns what it wrote.
  std::vector<float> run(GroupedGemmArgs product) {
    product.offsets = offsets_there_->data();
    product.experts = experts();
    gpu_->poison(product.out);
    if (product.epilogue == EpilogueOp::activate && product.pre.data) gpu_->poison(product.pre);
    gpu_->synchronize();
    gemm_->run(product);
    MB_CUDA(cudaStreamSynchronize(device_->stream.get()));
    return on_host(product.out);
  }
  /// value(expert, row) summed for each element of [rows, n].
  template <class Value>
  std::vector<float> by_rows(std::int64_t n, Value value) const {
    std::vector<float> all(static_cast<std::size_t>(rows() * n));
    for (std::int64_t e = 0; e < experts(); ++e)
      for (std::int64_t r = offsets_[e]; r < offsets_[e + 1]; ++r)
        for (std::int64_t c = 0; c < n; ++c) all[r * n + c] = static_cast<float>(value(e, r, c));
    return all;
  }
  void expect_close(const std::vector<float>& out, const std::vector<float>& expected) const {
    // In fp32 and tf32 the sums and the operands are what is rounded, not the result.
    EXPECT_LE(error_of(out, expected),
              size_of(dtype()) == 4 ? format_info(dtype()).error_bound : 1.5 * rounding(dtype()));
  }

  std::unique_ptr<cuda::Gpu> device_;
  std::unique_ptr<cuda::grouped::GroupedGemm> gemm_;
  std::vector<std::int32_t> offsets_{0};
  std::unique_ptr<Array<std::int32_t>> offsets_there_;
};

TEST_P(Grouped, RowsTimesWeightsOfTheirExpert) {
  const std::int64_t k = sizes().k, n = sizes().n;
  const Tensor left = random(dtype(), rows(), k, 1), right = random(dtype(), experts() * k, n, 2),
               bias = random(dtype(), experts(), n, 3), out = poisoned(dtype(), rows(), n);
  const auto a = on_host(left), b = on_host(right), c = on_host(bias);
  expect_close(run({.kind = GemmKind::fprop, .a = left, .b = right, .out = out, .bias = bias}),
               by_rows(n, [&](std::int64_t e, std::int64_t r, std::int64_t col) {
                 double sum = c[e * n + col];
                 for (std::int64_t i = 0; i < k; ++i) sum += double{a[r * k + i]} * b[(e * k + i) * n + col];
                 return sum;
               }));
}

TEST_P(Grouped, RowsTimesTransposedWeights) {
  const std::int64_t k = sizes().k, n = sizes().n;
  const Tensor left = random(dtype(), rows(), k, 1), right = random(dtype(), experts() * n, k, 2),
               out = poisoned(dtype(), rows(), n);
  const auto a = on_host(left), b = on_host(right);
  expect_close(run({.kind = GemmKind::dgrad, .a = left, .b = right, .out = out}),
               by_rows(n, [&](std::int64_t e, std::int64_t r, std::int64_t col) {
                 double sum = 0;
                 for (std::int64_t i = 0; i < k; ++i) sum += double{a[r * k + i]} * b[(e * n + col) * k + i];
                 return sum;
               }));
}

TEST_P(Grouped, GradientSumsOverTheRowsOfAnExpert) {
  const std::int64_t m = sizes().k, n = sizes().n;
  const Tensor left = random(dtype(), rows(), m, 1), right = random(dtype(), rows(), n, 2),
               out = poisoned(dtype(), experts() * m, n);
  const auto a = on_host(left), b = on_host(right);
  std::vector<float> expected(static_cast<std::size_t>(experts() * m * n));
  for (std::int64_t e = 0; e < experts(); ++e)
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t c = 0; c < n; ++c) {
        double sum = 0;
        for (std::int64_t r = offsets_[e]; r < offsets_[e + 1]; ++r)
          sum += double{a[r * m + i]} * b[r * n + c];
        expected[(e * m + i) * n + c] = static_cast<float>(sum);
      }
  expect_close(run({.kind = GemmKind::wgrad, .a = left, .b = right, .out = out}), expected);
}

TEST_P(Grouped, ActivatesAndDifferentiatesAsTheKernelsThatDoOnlyThat) {
  for (const Activation activation : {Activation::gelu, Activation::swiglu}) {
    SCOPED_TRACE(name_of(activation));
    const std::int64_t k = sizes().k, f = sizes().n, w = activation == Activation::swiglu ? 2 * f : f;
    const Tensor left = random(dtype(), rows(), k, 1), right = random(dtype(), experts() * k, w, 2),
                 bias = random(dtype(), experts(), w, 3), plain = poisoned(dtype(), rows(), w),
                 pre = poisoned(dtype(), rows(), w), act = poisoned(dtype(), rows(), f),
                 expected = poisoned(dtype(), rows(), f);
    const auto apart = run({.kind = GemmKind::fprop, .a = left, .b = right, .out = plain, .bias = bias});
    gpu_->activate(activation, plain, expected);
    const auto fused = run({.kind = GemmKind::fprop,
                            .a = left,
                            .b = right,
                            .out = act,
                            .epilogue = EpilogueOp::activate,
                            .activation = activation,
                            .bias = bias,
                            .pre = pre});
    EXPECT_TRUE(on_host(pre) == apart);
    EXPECT_TRUE(run({.kind = GemmKind::fprop,
                     .a = left,
                     .b = right,
                     .out = act,
                     .epilogue = EpilogueOp::activate,
                     .activation = activation,
                     .bias = bias}) == fused);
    EXPECT_LE(error_of(fused, on_host(expected)), 3 * rounding(dtype()));

    const Tensor up = random(dtype(), experts() * f, k, 4), dact = poisoned(dtype(), rows(), f),
                 dpre = poisoned(dtype(), rows(), w), dpre_expected = poisoned(dtype(), rows(), w);
    run({.kind = GemmKind::dgrad, .a = left, .b = up, .out = dact});
    cuda::activate_backward(static_cast<cudaStream_t>(gpu_->stream().handle), activation, pre, dact,
                            dpre_expected);
    gpu_->synchronize();
    const auto differentiated = run({.kind = GemmKind::dgrad,
                                     .a = left,
                                     .b = up,
                                     .out = dpre,
                                     .epilogue = EpilogueOp::differentiate,
                                     .activation = activation,
                                     .pre = pre});
    EXPECT_LE(error_of(differentiated, on_host(dpre_expected)), 3 * rounding(dtype()));
  }
}

TEST_P(Grouped, SumsWhatTheScoresGradientsAreMadeOf) {
  if (std::get<0>(GetParam()) != Kind::sm90) GTEST_SKIP() << "only Hopper's does";
  for (const Activation activation : {Activation::gelu, Activation::swiglu}) {
    SCOPED_TRACE(name_of(activation));
    const std::int64_t k = sizes().k, f = sizes().n, w = activation == Activation::swiglu ? 2 * f : f,
                       parts = (f + 63) / 64;
    const Tensor left = random(dtype(), rows(), k, 1), w2 = random(dtype(), experts() * f, k, 4),
                 pre = random(dtype(), rows(), w, 5), act = poisoned(dtype(), rows(), f),
                 dact = poisoned(dtype(), rows(), f), dpre = poisoned(dtype(), rows(), w);
    GroupedGemmArgs product{.kind = GemmKind::dgrad, .a = left, .b = w2, .out = dact};
    const auto dact_there = run(product);
    gpu_->activate(activation, pre, act);
    gpu_->synchronize();
    const auto act_there = on_host(act);
    product.out = dpre, product.epilogue = EpilogueOp::differentiate, product.activation = activation,
    product.pre = pre;
    const auto without = run(product);
    const Array<float> dots(*gpu_, static_cast<std::size_t>(rows() * parts));
    product.dscore_partials = dots.data();
    EXPECT_TRUE(run(product) == without);
    std::vector<float> expected(static_cast<std::size_t>(rows() * parts));
    for (std::int64_t r = 0; r < rows(); ++r)
      for (std::int64_t c = 0; c < f; ++c)
        expected[r * parts + c / 64] += dact_there[r * f + c] * act_there[r * f + c];
    EXPECT_LE(error_of(dots.host(), expected), 2 * rounding(dtype()));
  }
}

// From tokens, through a permutation, is the same as from rows that were packed by it. Three rows of each token.
TEST_P(Grouped, GathersRowsOfTokens) {
  if (std::get<0>(GetParam()) != Kind::sm90) GTEST_SKIP() << "only Hopper's does";
  constexpr std::int64_t kTopK = 3;
  const std::int64_t k = sizes().k, f = sizes().n, tokens = (rows() + kTopK - 1) / kTopK;
  std::vector<std::int32_t> slots(static_cast<std::size_t>(tokens * kTopK)), token_of;
  std::iota(slots.begin(), slots.end(), 0);
  std::shuffle(slots.begin(), slots.end(), std::mt19937(7));
  slots.resize(static_cast<std::size_t>(rows()));
  for (const std::int32_t slot : slots) token_of.push_back(slot / kTopK);
  const Array<std::int32_t> slot_of(*gpu_, slots), order(*gpu_, token_of);
  const Tensor x = random(dtype(), tokens, k, 1), packed = poisoned(dtype(), rows(), k),
               bias = random(dtype(), experts(), 2 * f, 3), right = random(dtype(), experts() * k, 2 * f, 2),
               pre = poisoned(dtype(), rows(), 2 * f), act = poisoned(dtype(), rows(), f);
  cuda::gather_rows(static_cast<cudaStream_t>(gpu_->stream().handle), order.data(), x, packed);
  gpu_->synchronize();
  GroupedGemmArgs up{.kind = GemmKind::fprop,
                     .a = packed,
                     .b = right,
                     .out = act,
                     .epilogue = EpilogueOp::activate,
                     .activation = Activation::swiglu,
                     .bias = bias,
                     .pre = pre};
  const auto expected = run(up), pre_expected = on_host(pre);
  up.a = x, up.slot_of = slot_of.data(), up.top_k = kTopK;
  EXPECT_TRUE(run(up) == expected);
  EXPECT_TRUE(on_host(pre) == pre_expected);
  up.pre = {};
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(run(up) == expected);
}

std::string test_name(const testing::TestParamInfo<Parameters>& test) {
  const auto& [kind, dtype, sizes] = test.param;
  return cat(kKindNames[static_cast<int>(kind)], "_", sizes.name, "_", name_of(dtype));
}

INSTANTIATE_TEST_SUITE_P(Cuda, Grouped,
                         testing::Combine(testing::Values(Kind::sm90, Kind::portable),
                                          testing::Values(DType::bf16, DType::fp16),
                                          testing::ValuesIn(kSizes)),
                         test_name);
INSTANTIATE_TEST_SUITE_P(CudaFp32, Grouped,
                         testing::Combine(testing::Values(Kind::fp32),
                                          testing::Values(DType::fp32, DType::tf32),
                                          testing::ValuesIn(kSizes)),
                         test_name);

}  // namespace
}  // namespace moebench
