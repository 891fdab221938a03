// SPDX-License-Identifier: Apache-2.0
// Stages that move or add rows, against the CPU backend: widths that take 16-byte accesses and widths that do
// not, and tensors that begin off a 16-byte boundary.
#include "backends/cuda/on_gpu.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench {
namespace {

constexpr std::int64_t kWidths[] = {1, 2, 3, 8, 17, 24, 31, 256, 1000, 1032};

class Rows : public InEveryFormat {
 protected:
  /// `rows` rows of a tensor with one row more in front: misaligned unless the width is a multiple of 16
  /// bytes.
  struct Shifted {
    Tensor whole;
    TensorView view;
  };
  Shifted shifted(Tensor whole) {
    const TensorView view = whole.view().slice(1, whole.view().rows - 1);
    return {std::move(whole), view};
  }
  Shifted random_rows(std::int64_t rows, std::int64_t cols, std::uint64_t key) {
    return shifted(random(dtype(), rows + 1, cols, key));
  }
  Shifted poisoned_rows(std::int64_t rows, std::int64_t cols) {
    return shifted(poisoned(dtype(), rows + 1, cols));
  }
  cudaStream_t stream() const { return static_cast<cudaStream_t>(gpu_->stream().handle); }

  /// slot → row, the reverse order but for a swap, so that it is no involution.
  static std::vector<std::int32_t> permutation(std::int32_t slots) {
    std::vector<std::int32_t> row_of(slots);
    for (std::int32_t slot = 0; slot < slots; ++slot) row_of[slot] = (slots - 1 - slot + 5) % slots;
    return row_of;
  }
  static std::vector<std::int32_t> inverse(const std::vector<std::int32_t>& row_of) {
    std::vector<std::int32_t> slot_of(row_of.size());
    for (std::size_t slot = 0; slot < row_of.size(); ++slot)
      slot_of[row_of[slot]] = static_cast<std::int32_t>(slot);
    return slot_of;
  }
};

TEST_P(Rows, PackCopiesEveryBitOfAnyWidth) {
  for (const std::int64_t cols : kWidths) {
    constexpr std::int64_t kTokens = 29, k = 3;
    const auto there = permutation(kTokens * k), slots = inverse(there);
    const Array<std::int32_t> row_of(*gpu_, there);
    const Shifted x = random_rows(kTokens, cols, 1), rows = poisoned_rows(kTokens * k, cols);
    gpu_->pack(PackForward{x.view, row_of, rows.view, k});
    const auto in = on_host(x.view), out = on_host(rows.view);
    for (std::int64_t r = 0; r < kTokens * k; ++r)
      for (std::int64_t c = 0; c < cols; ++c)
        ASSERT_EQ(out[r * cols + c], in[slots[r] / k * cols + c]) << cols << " columns";
    EXPECT_TRUE(std::isnan(on_host(rows.whole.view().slice(0, 1))[0])) << "wrote before its rows";
  }
}

TEST_P(Rows, GatherAndScatterAreInverse) {
  for (const std::int64_t cols : kWidths) {
    constexpr std::int64_t kRows = 53;
    const Array<std::int32_t> order(*gpu_, permutation(kRows));
    const Shifted from = random_rows(kRows, cols, 1), there = poisoned_rows(kRows, cols),
                  back = poisoned_rows(kRows, cols);
    cuda::gather_rows(stream(), order.data(), from.view, there.view);
    cuda::scatter_rows(stream(), order.data(), there.view, back.view);
    EXPECT_EQ(on_host(back.view), on_host(from.view)) << cols << " columns";
    EXPECT_NE(on_host(there.view), on_host(from.view)) << cols << " columns";
  }
}

TEST_P(Rows, PackBackwardAndCombineAgreeWithTheCpu) {
  for (const std::int64_t cols : kWidths)
    for (const std::int64_t k : {1, 2, 6, 9}) {
      constexpr std::int64_t kTokens = 29;
      const auto rows_of_slots = permutation(static_cast<std::int32_t>(kTokens * k));
      std::vector<float> weights(kTokens * k);
      for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = uniform_at(3, i);
      const Array<std::int32_t> row_of(*gpu_, rows_of_slots), cpu_row_of(*cpu_, rows_of_slots);
      const Array<float> score(*gpu_, weights), cpu_score(*cpu_, weights);
      const Shifted rows = random_rows(kTokens * k, cols, 4), dy = random_rows(kTokens, cols, 5),
                    y = poisoned_rows(kTokens, cols), dx = poisoned_rows(kTokens, cols),
                    drows = poisoned_rows(kTokens * k, cols);
      const Tensor cpu_rows = on_cpu(rows.view), cpu_dy = on_cpu(dy.view), cpu_y = on_cpu(y.view),
                   cpu_dx = on_cpu(dx.view), cpu_drows = on_cpu(drows.view);
      Array<float> dscore(*gpu_, kTokens * k), cpu_dscore(*cpu_, kTokens * k);
      gpu_->combine(CombineForward{rows.view, row_of, score, y.view, k});
      cpu_->combine(CombineForward{cpu_rows, cpu_row_of, cpu_score, cpu_y, k});
      gpu_->combine(CombineBackward{dy.view, rows.view, row_of, score, drows.view, dscore, k});
      cpu_->combine(CombineBackward{cpu_dy, cpu_rows, cpu_row_of, cpu_score, cpu_drows, cpu_dscore, k});
      gpu_->pack(PackBackward{rows.view, row_of, dx.view, k});
      cpu_->pack(PackBackward{cpu_rows, cpu_row_of, cpu_dx, k});
      const double bound = std::max(rounding(dtype()), 5e-7);
      EXPECT_LE(error_of(on_host(y.view), host(*cpu_, cpu_y)), bound) << cols << " columns, k " << k;
      EXPECT_LE(error_of(on_host(drows.view), host(*cpu_, cpu_drows)), bound) << cols << " columns, k " << k;
      EXPECT_LE(error_of(dscore.host(), cpu_dscore.host()), 2e-6)
          << cols << " columns, k " << k;  // fp32 whatever the format
      EXPECT_LE(error_of(on_host(dx.view), host(*cpu_, cpu_dx)), bound) << cols << " columns, k " << k;
    }
}

TEST_P(Rows, BiasIsAddedToAndSummedOverTheRowsOfEachExpert) {
  const std::vector<std::int32_t> bounds{0,  0,  5, 5,
                                         75, 76, 76};  // experts without rows first, between and last
  const std::int64_t experts = std::ssize(bounds) - 1, n = bounds.back();
  const Array<std::int32_t> offsets(*gpu_, bounds);
  for (const std::int64_t cols : kWidths) {
    const Shifted rows = random_rows(n, cols, 1), bias = random_rows(experts, cols, 2),
                  sums = poisoned_rows(experts, cols);
    const auto before = on_host(rows.view), add = on_host(bias.view);
    const Tensor wide_sums(gpu_->memory(), DType::fp32, experts, cols);
    gpu_->upload(wide_sums, std::vector<float>(static_cast<std::size_t>(experts * cols), 10.0f));
    cuda::sum_columns(stream(), offsets.data(), rows.view, sums.view, false);
    cuda::sum_columns(stream(), offsets.data(), rows.view, wide_sums, true);
    cuda::add_bias(stream(), offsets.data(), n, bias.view, rows.view);
    const auto after = on_host(rows.view), summed = on_host(sums.view), accumulated = on_host(wide_sums);
    for (std::int64_t e = 0; e < experts; ++e)
      for (std::int64_t c = 0; c < cols; ++c) {
        double sum = 0;
        for (std::int64_t r = bounds[e]; r < bounds[e + 1]; ++r) {
          sum += before[r * cols + c];
          ASSERT_EQ(after[r * cols + c], round_to(dtype(), before[r * cols + c] + add[e * cols + c]))
              << cols << " columns";
        }
        ASSERT_NEAR(summed[e * cols + c], sum, rounding(dtype()) * std::abs(sum) + 1e-5)
            << cols << " columns, expert " << e;
        ASSERT_NEAR(accumulated[e * cols + c], 10 + sum, 2e-5) << cols << " columns, expert " << e;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, Rows, testing::ValuesIn(kDTypes), format_name);

}  // namespace
}  // namespace moebench
