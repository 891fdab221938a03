// SPDX-License-Identifier: Apache-2.0
// Elements as stored, products and activations, in every number format.
#include <cmath>
#include <limits>

#include "backends/cuda/on_gpu.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench {
namespace {

class Formats : public InEveryFormat {};

TEST_P(Formats, FillGivesTheFieldRoundedAsOnTheHost) {
  const UniformField field{11, 3.0f};
  for (const std::int64_t first : {std::int64_t{0}, std::int64_t{1} << 33}) {
    const Tensor tensor = poisoned(dtype(), 123, 77);
    gpu_->fill(tensor, field, first);
    const auto values = on_host(tensor);
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], round_to(dtype(), field.at(static_cast<std::uint64_t>(first) + i))) << i;
  }
}

TEST_P(Formats, UploadRoundsToNearestEvenAndKeepsWhatIsNoNumber) {
  std::vector<float> values{1,
                            -1,
                            0,
                            -0.0f,
                            1 + 1.0f / 256,
                            1 + 3.0f / 256,
                            1 + 1.0f / 2048,
                            1 + 3.0f / 2048,
                            3e-5f,
                            1e-7f,
                            std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(),
                            std::nanf("")};
  for (int i = 0; i < 1000; ++i) values.push_back(uniform_at(5, i) * 100);
  const Tensor tensor(gpu_->memory(), dtype(), 1, std::ssize(values));
  gpu_->upload(tensor, values);
  const auto back = on_host(tensor);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float expected = round_to(dtype(), values[i]);
    if (std::isnan(expected))
      EXPECT_TRUE(std::isnan(back[i]));
    else
      EXPECT_EQ(back[i], expected) << values[i];
  }
}

TEST_P(Formats, PoisonIsNoNumber) {
  for (const float value : on_host(poisoned(dtype(), 9, 31))) EXPECT_TRUE(std::isnan(value));
}

TEST_P(Formats, CarriesMoreThanOnePartAtATime) {
  const Tensor tensor =
      random(dtype(), (std::int64_t{1} << 24) + 5, 2, 3);  // two parts of 2^24 elements, and a bit
  const auto values = on_host(tensor);
  for (const std::size_t i :
       {std::size_t{0}, (std::size_t{1} << 24) - 1, std::size_t{1} << 24, values.size() - 1})
    EXPECT_EQ(values[i], round_to(dtype(), uniform_at(3, i))) << i;
}

/// fp32 without TF32 is a thousand times nearer than with it: the bound tells them apart.
TEST_P(Formats, MultipliesWithTheAccuracyOfTheFormat) {
  for (const auto& [m, k, n] : {std::tuple{1, 1, 1},
                                {1, 257, 70},
                                {70, 3, 1},
                                {33, 65, 129},
                                {128, 1024, 256},
                                {0, 4, 4},
                                {4, 0, 4}}) {
    const Tensor a = random(dtype(), m, k, 1), b = random(dtype(), k, n, 2), c = poisoned(dtype(), m, n);
    gpu_->gemm(a, b, c);
    const Tensor expected(cpu_->memory(), DType::fp32, m, n);
    cpu_->gemm(on_cpu(a), on_cpu(b), expected);
    const double bound = dtype() == DType::fp32 ? 4e-6 : dtype() == DType::tf32 ? 2e-3 : rounding(dtype());
    EXPECT_LE(error_of(on_host(c), host(*cpu_, expected)), bound) << m << " x " << k << " x " << n;
  }
}

double exact_gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double exact_gelu_slope(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI);
}
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

class Activations : public Formats {
 protected:
  /// n rows of inputs over [-12, 12].
  Tensor inputs(std::int64_t n, std::int64_t cols, std::uint64_t key) {
    Tensor tensor(gpu_->memory(), dtype(), n, cols);
    gpu_->fill(tensor, {key, 12.0f}, 0);
    return tensor;
  }
  void expect_near(double out, double exact, double scale) {
    EXPECT_NEAR(out, exact,
                rounding(dtype()) * std::abs(exact) + 4e-7 * scale + 6e-8);  // 6e-8: subnormals of fp16
  }
};

TEST_P(Activations, GeluIsTheExactOneForwardAndBackward) {
  for (const std::int64_t cols : {1, 17, 64, 1000}) {
    const Tensor pre = inputs(13, cols, 1), dact = random(dtype(), 13, cols, 2),
                 act = poisoned(dtype(), 13, cols), dpre = poisoned(dtype(), 13, cols);
    gpu_->activate(Activation::gelu, pre, act);
    cuda::activate_backward(static_cast<cudaStream_t>(gpu_->stream().handle), Activation::gelu, pre, dact,
                            dpre);
    const auto x = on_host(pre), g = on_host(dact), y = on_host(act), dx = on_host(dpre);
    for (std::size_t i = 0; i < x.size(); ++i) {
      expect_near(y[i], exact_gelu(x[i]), std::abs(x[i]));
      expect_near(dx[i], g[i] * exact_gelu_slope(x[i]), 1 + std::abs(x[i]));
    }
  }
}

TEST_P(Activations, SwigluIsSiluTimesTheSecondHalfForwardAndBackward) {
  for (const std::int64_t cols : {1, 17, 64, 1000}) {
    const Tensor pre = inputs(13, 2 * cols, 1), dact = random(dtype(), 13, cols, 2),
                 act = poisoned(dtype(), 13, cols), dpre = poisoned(dtype(), 13, 2 * cols);
    gpu_->activate(Activation::swiglu, pre, act);
    cuda::activate_backward(static_cast<cudaStream_t>(gpu_->stream().handle), Activation::swiglu, pre, dact,
                            dpre);
    const auto in = on_host(pre), g = on_host(dact), y = on_host(act), din = on_host(dpre);
    for (std::int64_t r = 0; r < 13; ++r)
      for (std::int64_t c = 0; c < cols; ++c) {
        const double x = in[r * 2 * cols + c], up = in[r * 2 * cols + cols + c], s = sigmoid(x),
                     dy = g[r * cols + c];
        expect_near(y[r * cols + c], x * s * up, 144);
        expect_near(din[r * 2 * cols + c], dy * up * s * (1 + x * (1 - s)), 144);
        expect_near(din[r * 2 * cols + cols + c], dy * x * s, 12);
      }
  }
}

TEST_P(Activations, PassOnWhatIsNoNumber) {
  const Tensor pre = poisoned(dtype(), 2, 32), act = random(dtype(), 2, 16, 1);
  gpu_->activate(Activation::swiglu, pre, act);
  for (const float value : on_host(act)) EXPECT_TRUE(std::isnan(value));
}

INSTANTIATE_TEST_SUITE_P(Cuda, Formats, testing::ValuesIn(kDTypes), format_name);
INSTANTIATE_TEST_SUITE_P(Cuda, Activations, testing::ValuesIn(kDTypes), format_name);

}  // namespace
}  // namespace moebench
