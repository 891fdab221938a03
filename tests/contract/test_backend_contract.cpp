// SPDX-License-Identifier: Apache-2.0
// One suite over every Backend: what backends/backend.h promises, stage by stage.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backends/cpu/cpu_backend.h"
#if MOEBENCH_CONTRACT_OF_CUDA
#include "backends/cuda/cuda_backend.h"
#endif
#include "base/error.h"
#include "contract/backend_contract.h"

namespace moebench {
namespace {

const Maker kBackends[] = {
#if MOEBENCH_CONTRACT_OF_CUDA  // a program of its own, labelled gpu: tests/backends/cuda
    {"cuda", [] { return make_cuda_backend(0); }, why_no_cuda},
#else
    {"cpu_1_thread", [] { return make_cpu_backend(1); }},
    {"cpu_3_threads", [] { return make_cpu_backend(3); }},
#endif
};

TEST_P(EveryBackend, FillsWithTheElementsOfTheField) {
  const UniformField field{42, 2.5f};
  Tensor tensor(backend_->memory(), DType::fp32, 7, 5);
  backend_->fill(tensor, field, 1000);
  const auto values = host(tensor);
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], field.at(1000 + i));
}

TEST_P(EveryBackend, PoisonsEveryElement) {
  for (const float value : host(poisoned(33, 65))) EXPECT_TRUE(std::isnan(value));
}

TEST_P(EveryBackend, CarriesValuesInAndOut) {
  const std::vector<float> values{1.5f, -2, 0, 3e-20f, 4e20f, 6};
  EXPECT_EQ(host(of(2, 3, values)), values);
}

TEST_P(EveryBackend, CountsItsMemory) {
  const auto used = backend_->memory().used_bytes(), count = std::size_t{backend_->memory().allocations()};
  {
    const Buffer buffer(backend_->memory(), 1 << 20);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 256, 0u);
    EXPECT_EQ(backend_->memory().used_bytes(), used + (1 << 20));
  }
  EXPECT_EQ(backend_->memory().used_bytes(), used);
  EXPECT_EQ(backend_->memory().allocations(), count + 1);
  EXPECT_GE(backend_->memory().peak_bytes(), used + (1 << 20));
  EXPECT_GT(backend_->memory().available_bytes(), 0u);
}

TEST_P(EveryBackend, SaysHowMuchItCouldNotAllocate) {
  constexpr std::size_t kTooMuch = std::size_t{1} << 62;
  try {
    backend_->memory().allocate(kTooMuch);
    FAIL() << "allocated 4 EiB";
  } catch (const MemoryError& error) {
    EXPECT_EQ(error.bytes(), kTooMuch);
  }
}

TEST_P(EveryBackend, GateTakesTheLargestLogitsAndTheLowerExpertOnATie) {
  const Tensor x = of(3, 2, {1, 0, 0, 1, 0, 0});
  const Tensor weight = of(2, 4, {1, 3, 3, 2, 5, -1, 4, 0});
  Array<float> logits(*backend_, 12), score(*backend_, 6);
  Array<std::int32_t> expert_of(*backend_, 6);
  backend_->gate(GateForward{x, weight, logits, expert_of, score, 2});
  EXPECT_EQ(expert_of.host(), (std::vector<std::int32_t>{1, 2, 0, 2, 0, 1}));
  const auto scores = score.host();
  const float high = 1 / (1 + std::exp(-1.0f));
  const float expected[] = {0.5f, 0.5f, high, 1 - high, 0.5f, 0.5f};
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(scores[i], expected[i], 1e-6) << i;
}

TEST_P(EveryBackend, GateChoosesAsASortWouldForAnyNumberOfExperts) {
  for (const auto& [experts, k] : {std::pair{1, 1}, {5, 5}, {7, 3}, {64, 8}, {257, 6}, {1000, 16}}) {
    const std::int64_t tokens = 19, hidden = 8;
    const Tensor x = random(tokens, hidden, 1), weight = random(hidden, experts, 2);
    Array<float> logits(*backend_, tokens * experts), score(*backend_, tokens * k);
    Array<std::int32_t> expert_of(*backend_, tokens * k);
    backend_->gate(GateForward{x, weight, logits, expert_of, score, k});
    const auto values = logits.host(), scores = score.host();
    const auto chosen = expert_of.host();
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::vector<std::int32_t> order(experts);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int a, int b) { return values[t * experts + a] > values[t * experts + b]; });
      for (int j = 0; j < k; ++j)
        ASSERT_EQ(chosen[t * k + j], order[j]) << experts << " experts, token " << t;
      EXPECT_NEAR(std::accumulate(&scores[t * k], &scores[t * k] + k, 0.0), 1, 1e-5);
    }
  }
}

TEST_P(EveryBackend, GateBackwardAddsToDxAndOverwritesDweight) {
  const Tensor x = of(1, 2, {2, 3}), weight = of(2, 3, {1, 0, 5, 0, 1, 5}), dx = of(1, 2, {10, 20}),
               dweight = poisoned(2, 3);
  const Array<std::int32_t> expert_of(*backend_, std::vector<std::int32_t>{0, 1});
  const Array<float> score(*backend_, std::vector<float>{0.25f, 0.75f}),
      dscore(*backend_, std::vector<float>{4, 8});
  Array<float> dlogits(*backend_, 3);
  backend_->gate(GateBackward{x, weight, expert_of, score, dscore, dlogits, dx, dweight, 2});
  // mean = 0.25·4 + 0.75·8 = 7; dlogit = 0.25·(4-7), 0.75·(8-7), 0
  EXPECT_EQ(host(dx), (std::vector<float>{9.25f, 20.75f}));
  EXPECT_EQ(host(dweight), (std::vector<float>{-1.5f, 1.5f, 0, -2.25f, 2.25f, 0}));
}

TEST_P(EveryBackend, PlanIsAStableCountingSort) {
  const std::vector<std::int32_t> choice{2, 0, 2, 3, 0, 2};
  const Array<std::int32_t> expert_of(*backend_, choice);
  Array<std::int32_t> counts(*backend_, 5), offsets(*backend_, 6), row_of(*backend_, 6),
      slot_of(*backend_, 6);
  backend_->plan({expert_of, RowOrder::by_expert, counts, offsets, row_of, slot_of});
  EXPECT_EQ(counts.host(), (std::vector<std::int32_t>{2, 0, 3, 1, 0}));
  EXPECT_EQ(offsets.host(), (std::vector<std::int32_t>{0, 2, 2, 5, 6, 6}));
  EXPECT_EQ(row_of.host(), (std::vector<std::int32_t>{2, 0, 3, 5, 1, 4}));
  EXPECT_EQ(slot_of.host(), (std::vector<std::int32_t>{1, 4, 0, 2, 5, 3}));
  backend_->plan({expert_of, RowOrder::by_token, counts, offsets, row_of, slot_of});
  EXPECT_EQ(row_of.host(), (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(counts.host(), (std::vector<std::int32_t>{2, 0, 3, 1, 0}));
  backend_->plan({expert_of, RowOrder::by_expert, counts, offsets, row_of, {}});
  EXPECT_EQ(row_of.host(), (std::vector<std::int32_t>{2, 0, 3, 5, 1, 4})) << "without slot_of";
}

TEST_P(EveryBackend, PlanHoldsForManySlotsAndExperts) {
  for (const auto& [slots, experts] : {std::pair{1, 1}, {100000, 3}, {4099, 1000}, {20000, 512}}) {
    std::vector<std::int32_t> choice(slots);
    for (int i = 0; i < slots; ++i) choice[i] = static_cast<std::int32_t>(mix(7, i) % experts);
    const Array<std::int32_t> expert_of(*backend_, choice);
    Array<std::int32_t> counts(*backend_, experts), offsets(*backend_, experts + 1), row_of(*backend_, slots),
        slot_of(*backend_, slots);
    backend_->plan({expert_of, RowOrder::by_expert, counts, offsets, row_of, slot_of});
    std::vector<std::int32_t> order(slots);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return choice[a] < choice[b]; });
    EXPECT_EQ(slot_of.host(), order) << slots << " slots, " << experts << " experts";
    const auto rows = row_of.host();
    for (int row = 0; row < slots; ++row) ASSERT_EQ(rows[order[row]], row);
    EXPECT_EQ(offsets.host().back(), slots);
  }
}

/// A permutation of tokens·k slots and its inverse.
struct Permutation {
  std::vector<std::int32_t> row_of, slot_of;
  explicit Permutation(std::int32_t slots) : row_of(slots), slot_of(slots) {
    for (std::int32_t slot = 0; slot < slots; ++slot) row_of[slot] = slots - 1 - slot;
    for (std::int32_t slot = 0; slot < slots; ++slot) slot_of[row_of[slot]] = slot;
  }
};

TEST_P(EveryBackend, PackCopiesEachTokenToItsRowsAndItsBackwardIsTheAdjoint) {
  for (const auto& [tokens, hidden, k] : {std::tuple{13, 24, 3}, {1, 1, 1}, {50, 129, 2}}) {
    const Permutation permutation(tokens * k);
    const Array<std::int32_t> row_of(*backend_, permutation.row_of);
    const Tensor x = random(tokens, hidden, 1), rows = poisoned(tokens * k, hidden);
    backend_->pack(PackForward{x, row_of, rows, k});
    const auto in = host(x), out = host(rows);
    for (int r = 0; r < tokens * k; ++r)
      for (int i = 0; i < hidden; ++i)
        ASSERT_EQ(out[r * hidden + i], in[permutation.slot_of[r] / k * hidden + i]);
    const Tensor drows = random(tokens * k, hidden, 2), dx = poisoned(tokens, hidden);
    backend_->pack(PackBackward{drows, row_of, dx, k});
    EXPECT_NEAR(dot(dx, x), dot(drows, rows), 1e-4 * std::sqrt(tokens * k * hidden));
  }
}

TEST_P(EveryBackend, RegroupBringsSegmentsToTheirPlacesAndBack) {
  for (const int hidden : {1, 8, 129}) {
    const std::vector<std::int32_t> begins{0, 3, 3, 4, 9, 9}, places{6, 0, 5, 0, 2};  // two are empty
    const Array<std::int32_t> begin(*backend_, begins), place(*backend_, places);
    const Tensor messages = random(9, hidden, 1), by_expert = poisoned(9, hidden),
                 again = poisoned(9, hidden);
    backend_->regroup({.messages = messages, .by_expert = by_expert, .begin = begin, .place = place});
    const auto sent = host(messages), grouped = host(by_expert);
    for (std::size_t segment = 0; segment < places.size(); ++segment)
      for (int row = begins[segment]; row < begins[segment + 1]; ++row)
        for (int i = 0; i < hidden; ++i)
          ASSERT_EQ(grouped[(places[segment] + row - begins[segment]) * hidden + i], sent[row * hidden + i])
              << "row " << row;
    backend_->regroup(
        {.messages = again, .by_expert = by_expert, .begin = begin, .place = place, .to_messages = true});
    EXPECT_EQ(host(again), sent);
  }
}

TEST_P(EveryBackend, CombineWeighsRowsByScoreAndItsBackwardIsTheAdjoint) {
  for (const auto& [tokens, hidden, k] : {std::tuple{13, 24, 3}, {1, 1, 1}, {50, 129, 2}}) {
    const Permutation permutation(tokens * k);
    const Array<std::int32_t> row_of(*backend_, permutation.row_of);
    std::vector<float> weights(tokens * k);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = uniform_at(3, i);
    const Array<float> score(*backend_, weights);
    const Tensor rows = random(tokens * k, hidden, 4), y = poisoned(tokens, hidden);
    backend_->combine(CombineForward{rows, row_of, score, y, k});
    const auto in = host(rows), out = host(y);
    for (int t = 0; t < tokens; ++t)
      for (int i = 0; i < hidden; ++i) {
        double sum = 0;
        for (int j = 0; j < k; ++j)
          sum += double{weights[t * k + j]} * in[permutation.row_of[t * k + j] * hidden + i];
        ASSERT_NEAR(out[t * hidden + i], sum, 1e-5);
      }
    const Tensor dy = random(tokens, hidden, 5), drows = poisoned(tokens * k, hidden);
    Array<float> dscore(*backend_, tokens * k);
    backend_->combine(CombineBackward{dy, rows, row_of, score, drows, dscore, k});
    const double forward = dot(dy, y);
    EXPECT_NEAR(dot(drows, rows), forward, 1e-4 * std::sqrt(tokens * k * hidden));  // linear in the rows
    const auto gradients = dscore.host();
    EXPECT_NEAR(std::inner_product(gradients.begin(), gradients.end(), weights.begin(), 0.0), forward,
                1e-4 * std::sqrt(tokens * k * hidden));   // and in the scores
    const Tensor without = poisoned(tokens * k, hidden);  // the engine computes dscore, rows are not read
    backend_->combine(CombineBackward{dy, {}, row_of, score, without, {}, k});
    EXPECT_EQ(host(without), host(drows));
  }
}

TEST_P(EveryBackend, MultipliesMatricesOfAnyShape) {
  for (const auto& [m, k, n] : {std::tuple{1, 1, 1}, {1, 100, 70}, {70, 3, 1}, {33, 65, 129}, {200, 17, 5}}) {
    const Tensor a = random(m, k, 1), b = random(k, n, 2), c = poisoned(m, n);
    backend_->gemm(a, b, c);
    const auto x = host(a), w = host(b), y = host(c);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = 0;
        for (int l = 0; l < k; ++l) sum += double{x[i * k + l]} * w[l * n + j];
        ASSERT_NEAR(y[i * n + j], sum, 1e-5 * std::sqrt(k) + 1e-6);
      }
  }
}

TEST_P(EveryBackend, ActivatesOverTheWholeRangeOfInputs) {
  std::vector<float> in;
  for (float v = -100; v <= 100; v += 0.37f) in.push_back(v);
  for (const float v : {0.0f, -0.0f, 1e-30f, -1e-6f, 6.0f, -6.0f, 88.0f, -88.0f, 1e30f, -1e30f})
    in.push_back(v);
  const auto n = static_cast<std::int64_t>(in.size());
  const Tensor out = poisoned(1, n);
  backend_->activate(Activation::gelu, of(1, n, in), out);
  const auto gelu = host(out);
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = in[i], exact = x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    EXPECT_NEAR(gelu[i], exact, 2e-7 * std::max(1.0, std::abs(x))) << x;
  }
  std::vector<float> pairs(in);
  pairs.insert(pairs.end(), n, 0.5f);
  backend_->activate(Activation::swiglu, of(1, 2 * n, pairs), out);
  const auto swiglu = host(out);
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = in[i], exact = 0.5 * x / (1 + std::exp(-x));
    EXPECT_NEAR(swiglu[i], exact, 2e-7 * std::max(1.0, std::abs(x))) << x;
  }
}

TEST_P(EveryBackend, AddsEveryElement) {
  for (const auto& [rows, cols] : {std::pair{1, 1}, {123, 457}, {64, 1024}, {5, 8}}) {
    const Tensor from = random(rows, cols, 1), to = random(rows, cols, 2);
    const auto a = host(from), b = host(to);
    backend_->add(from, to);
    const auto sum = host(to);
    for (std::size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], a[i] + b[i]) << i;
  }
  backend_->add(TensorView{}, TensorView{});
}

TEST_P(EveryBackend, CopiesEveryByte) {
  const Tensor from = random(123, 457, 1), to = poisoned(123, 457);
  backend_->copy(from, to);
  EXPECT_EQ(host(to), host(from));
}

TEST_P(EveryBackend, TakesEmptyTensors) {
  const Tensor x = random(0, 8, 1), weight = random(8, 4, 2), rows = random(0, 8, 3),
               y(backend_->memory(), DType::fp32, 0, 8);
  Array<float> none(*backend_, 0);
  Array<std::int32_t> no_index(*backend_, 0), counts(*backend_, 4), offsets(*backend_, 5);
  backend_->gate(GateForward{x, weight, none, no_index, none, 2});
  backend_->plan({no_index, RowOrder::by_expert, counts, offsets, no_index, no_index});
  backend_->pack(PackForward{x, no_index, rows, 2});
  backend_->combine(CombineForward{rows, no_index, none, y, 2});
  backend_->synchronize();
  EXPECT_EQ(counts.host(), (std::vector<std::int32_t>(4, 0)));
  EXPECT_EQ(offsets.host(), (std::vector<std::int32_t>(5, 0)));
}

TEST_P(EveryBackend, RunsRecordedWorkOnlyWhenLaunched) {
  if (!backend_->has_graphs()) {
    EXPECT_EQ(backend_->capture([] {}), nullptr);
    GTEST_SKIP() << "this backend has no graphs";
  }
  const Tensor a = random(70, 70, 1), b = random(70, 70, 2), c = poisoned(70, 70), copy = poisoned(70, 70);
  backend_->gemm(a, b, c);
  const auto expected = host(c);
  backend_->poison(c);
  const auto graph = backend_->capture([&] {
    backend_->gemm(a, b, c);
    backend_->copy(c, copy);
  });
  EXPECT_TRUE(std::isnan(host(copy)[0])) << "recording ran it";
  for (int launch = 0; launch < 3; ++launch) {
    backend_->poison(copy);
    graph->launch();
    EXPECT_EQ(host(copy), expected);
  }
}

TEST_P(EveryBackend, RefusesToRecordWhatWaitsAndWorksOn) {
  if (!backend_->has_graphs()) GTEST_SKIP() << "this backend has no graphs";
  const Tensor from = random(9, 9, 1), to = poisoned(9, 9);
  EXPECT_THROW(backend_->capture([&] { backend_->synchronize(); }), DeviceError);
  EXPECT_THROW(backend_->capture([&] { const Buffer buffer(backend_->memory(), 1 << 20); }), DeviceError);
  EXPECT_THROW(backend_->capture([] { throw UsageError("not today"); }), UsageError);
  backend_->copy(from, to);
  EXPECT_EQ(host(to), host(from));
}

TEST_P(EveryBackend, MarksTimeInOrder) {
  const auto timestamps = backend_->make_timestamps(3);
  const Tensor a = random(300, 300, 1), c = poisoned(300, 300);
  timestamps->record(0);
  backend_->gemm(a, a, c);
  timestamps->record(1);
  backend_->gemm(a, a, c);
  timestamps->record(2);
  backend_->synchronize();
  EXPECT_GT(timestamps->elapsed_us(0, 1), 0);
  EXPECT_NEAR(timestamps->elapsed_us(0, 2), timestamps->elapsed_us(0, 1) + timestamps->elapsed_us(1, 2),
              1e-2 + 1e-6 * timestamps->elapsed_us(0, 2));
}

TEST_P(EveryBackend, DescribesItsDevice) {
  const DeviceInfo& device = backend_->device();
  EXPECT_FALSE(device.name.empty());
  EXPECT_GT(device.units, 0);
  EXPECT_GT(device.memory_bytes, 0u);
  EXPECT_GT(device.cache_bytes, 0u);
}

INSTANTIATE_TEST_SUITE_P(Backend, EveryBackend, testing::ValuesIn(kBackends),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace moebench
