// SPDX-License-Identifier: Apache-2.0
#include <limits>
#include <numeric>

#include "backends/cuda/on_gpu.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench {
namespace {

class Gate : public OnGpu {
 protected:
  struct Choice {
    std::vector<std::int32_t> expert_of;
    std::vector<float> score;
  };
  Choice choose(const std::vector<float>& logits, std::int64_t experts, std::int64_t k) {
    const std::int64_t tokens = std::ssize(logits) / experts;
    Array<float> device(*gpu_, logits), score(*gpu_, static_cast<std::size_t>(tokens * k));
    Array<std::int32_t> expert_of(*gpu_, static_cast<std::size_t>(tokens * k));
    const TensorView x{nullptr, DType::fp32, tokens, 1}, weight{nullptr, DType::fp32, 1, experts};
    cuda::choose_experts(static_cast<cudaStream_t>(gpu_->stream().handle),
                         {x, weight, device, expert_of, score, k});
    return {expert_of.host(), score.host()};
  }
};

TEST_F(Gate, ChoosesAsAStableSortAmongManyEqualLogits) {
  for (const std::int64_t experts :
       {1, 2, 31, 32, 33, 64, 100, 128, 255, 256, 500, 512, 1000, 1024, 1025, 3000})
    for (const std::int64_t k :
         {std::int64_t{1}, std::int64_t{2}, std::int64_t{6}, std::int64_t{16}, std::int64_t{40}, experts}) {
      if (k > experts || k > 1100) continue;
      constexpr std::int64_t kTokens = 11;
      std::vector<float> logits(static_cast<std::size_t>(kTokens * experts));
      for (std::size_t i = 0; i < logits.size(); ++i) {
        const float level = std::round(uniform_at(9, i) * 4) / 2;  // nine levels, -0 and 0 among them
        logits[i] = level;
      }
      const auto [chosen, score] = choose(logits, experts, k);
      for (std::int64_t t = 0; t < kTokens; ++t) {
        const float* row = &logits[t * experts];
        std::vector<std::int32_t> order(experts);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
        double sum = 0;
        for (std::int64_t j = 0; j < k; ++j) sum += std::exp(double{row[order[j]]} - row[order[0]]);
        for (std::int64_t j = 0; j < k; ++j) {
          ASSERT_EQ(chosen[t * k + j], order[j])
              << experts << " experts, k " << k << ", token " << t << ", choice " << j;
          ASSERT_NEAR(score[t * k + j], std::exp(double{row[order[j]]} - row[order[0]]) / sum, 1e-6);
        }
      }
    }
}

TEST_F(Gate, InOneKernelMakesTheLogitsThatItChoosesFrom) {
  struct Sizes {
    std::int64_t tokens, hidden, experts, k;
  };
  for (const DType dtype : {DType::bf16, DType::fp16})
    for (const Sizes& s : {Sizes{1, 32, 1, 1},
                           {16, 32, 8, 2},
                           {37, 96, 5, 5},
                           {100, 1024, 8, 2},
                           {50, 256, 16, 3},
                           {33, 288, 12, 2},
                           {64, 256, 16, 6},
                           {19, 1536, 14, 8},
                           {40, 64, 10, 1}}) {
      SCOPED_TRACE(cat(name_of(dtype), ", ", s.tokens, " x ", s.hidden, ", ", s.experts, " experts"));
      const Tensor x = random(dtype, s.tokens, s.hidden, 1), weight = random(dtype, s.hidden, s.experts, 2);
      const auto slots = static_cast<std::size_t>(s.tokens * s.k);
      Array<float> logits(*gpu_, static_cast<std::size_t>(s.tokens * s.experts)), score(*gpu_, slots);
      Array<std::int32_t> expert_of(*gpu_, slots);
      ASSERT_TRUE(cuda::gate_in_one(static_cast<cudaStream_t>(gpu_->stream().handle),
                                    {x, weight, logits, expert_of, score, s.k}));
      gpu_->synchronize();
      const auto a = on_host(x), b = on_host(weight);
      std::vector<float> expected(static_cast<std::size_t>(s.tokens * s.experts));
      for (std::int64_t t = 0; t < s.tokens; ++t)
        for (std::int64_t e = 0; e < s.experts; ++e) {
          double sum = 0;
          for (std::int64_t i = 0; i < s.hidden; ++i)
            sum += double{a[t * s.hidden + i]} * b[i * s.experts + e];
          expected[t * s.experts + e] = static_cast<float>(sum);
        }
      const auto made = logits.host();
      EXPECT_LE(error_of(made, expected), 1e-5);
      const auto [chosen, scores] = choose(made, s.experts, s.k);
      EXPECT_EQ(expert_of.host(), chosen);
      EXPECT_EQ(score.host(), scores);
    }
}

TEST_F(Gate, InOneKernelLeavesOtherShapesAlone) {
  const Tensor x = random(DType::fp32, 4, 32, 1), odd = random(DType::bf16, 4, 31, 1),
               weight = random(DType::fp32, 32, 8, 2), odd_weight = random(DType::bf16, 31, 8, 2);
  Array<float> logits(*gpu_, 32), score(*gpu_, 4);
  Array<std::int32_t> expert_of(*gpu_, 4);
  const auto stream = static_cast<cudaStream_t>(gpu_->stream().handle);
  EXPECT_FALSE(cuda::gate_in_one(stream, {x, weight, logits, expert_of, score, 1}));
  EXPECT_FALSE(cuda::gate_in_one(stream, {odd, odd_weight, logits, expert_of, score, 1}));
  const Tensor half = random(DType::bf16, 4, 32, 1), many = random(DType::bf16, 32, 24, 2);
  Array<float> more(*gpu_, 96);
  EXPECT_FALSE(cuda::gate_in_one(stream, {half, many, more, expert_of, score, 1}));
}

TEST_F(Gate, ChoosesDifferentExpertsWhateverTheLogits) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  for (const std::int64_t experts : {5, 40, 1030}) {
    for (const float value : {nan, -nan, inf, -inf, 0.0f, -3e38f}) {
      std::vector<float> logits(static_cast<std::size_t>(experts), value);
      const auto chosen = choose(logits, experts, 5).expert_of;
      EXPECT_EQ(chosen, (std::vector<std::int32_t>{0, 1, 2, 3, 4})) << experts << " times " << value;
      logits[3] = 1;
      auto mixed = choose(logits, experts, 5).expert_of;
      std::sort(mixed.begin(), mixed.end());
      EXPECT_EQ(std::unique(mixed.begin(), mixed.end()), mixed.end())
          << experts << " times " << value << " and a 1";
      EXPECT_GE(mixed.front(), 0);
      EXPECT_LT(mixed.back(), experts);
    }
  }
}

class GateInEveryFormat : public InEveryFormat {};

TEST_P(GateInEveryFormat, AgreesWithTheCpuForwardAndBackward) {
  for (const auto& [tokens, hidden, experts, k] :
       {std::tuple{37, 24, 6, 2}, {1, 8, 1, 1}, {50, 17, 5, 5}, {64, 128, 72, 8}}) {
    const Tensor x = random(dtype(), tokens, hidden, 1), weight = random(dtype(), hidden, experts, 2);
    Array<float> logits(*gpu_, tokens * experts), score(*gpu_, tokens * k);
    Array<std::int32_t> expert_of(*gpu_, tokens * k);
    gpu_->gate(GateForward{x, weight, logits, expert_of, score, k});
    const Tensor cpu_x = on_cpu(x), cpu_weight = on_cpu(weight);
    const double bound = dtype() == DType::fp32   ? 2e-6
                         : dtype() == DType::tf32 ? 2e-3
                                                  : 3 * rounding(dtype());
    const Tensor cpu_logits(cpu_->memory(), DType::fp32, tokens, experts);
    cpu_->gemm(cpu_x, cpu_weight, cpu_logits);
    // 16-bit operands multiply exactly and accumulate in fp32, so only tf32 may be coarse here.
    EXPECT_LE(error_of(logits.host(), host(*cpu_, cpu_logits)), dtype() == DType::tf32 ? 2e-3 : 2e-6);

    std::vector<float> gradient(tokens * k);
    for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = uniform_at(4, i);
    const Tensor dx = random(dtype(), tokens, hidden, 5), dweight = poisoned(dtype(), hidden, experts);
    const Tensor cpu_dx = on_cpu(dx), cpu_dweight(cpu_->memory(), DType::fp32, hidden, experts);
    const Array<float> dscore(*gpu_, gradient), cpu_score(*cpu_, score.host()), cpu_dscore(*cpu_, gradient);
    const Array<std::int32_t> cpu_expert_of(*cpu_, expert_of.host());
    Array<float> dlogits(*gpu_, tokens * experts), cpu_dlogits(*cpu_, tokens * experts);
    gpu_->gate(GateBackward{x, weight, expert_of, score, dscore, dlogits, dx, dweight, k});
    cpu_->gate(GateBackward{cpu_x, cpu_weight, cpu_expert_of, cpu_score, cpu_dscore, cpu_dlogits, cpu_dx,
                            cpu_dweight, k});
    EXPECT_LE(error_of(on_host(dx), host(*cpu_, cpu_dx)), bound);
    EXPECT_LE(error_of(on_host(dweight), host(*cpu_, cpu_dweight)), bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, GateInEveryFormat, testing::ValuesIn(kDTypes), format_name);

}  // namespace
}  // namespace moebench
