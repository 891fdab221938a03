// SPDX-License-Identifier: Apache-2.0
// Holding the stream keeps work back until release(), and never longer than it says.
#include <chrono>
#include <thread>

#include "backends/cuda/on_gpu.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Holding : public OnGpu {
 protected:
  void SetUp() override {
    OnGpu::SetUp();
    if (IsSkipped()) return;
    const auto timestamps =
        gpu_->make_timestamps(2);  // whether a hold does anything: not under a profiler or sanitizer
    gpu_->synchronize();
    gpu_->hold();
    is_held_ = cudaStreamQuery(stream()) == cudaErrorNotReady;
    gpu_->release();
    gpu_->synchronize();
    if (!is_held_) GTEST_SKIP() << "holding is off: kernels are run one by one here";
  }
  cudaStream_t stream() const { return static_cast<cudaStream_t>(gpu_->stream().handle); }
  bool is_held_ = false;
};

TEST_F(Holding, KeepsWorkBackUntilReleased) {
  const auto timestamps = gpu_->make_timestamps(2);
  const Tensor from = random(DType::fp32, 64, 64, 1), to = poisoned(DType::fp32, 64, 64);
  gpu_->copy(from, to);
  gpu_->synchronize();
  gpu_->hold();
  timestamps->record(0);
  gpu_->copy(from, to);
  timestamps->record(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(cudaStreamQuery(stream()), cudaErrorNotReady);
  gpu_->release();
  gpu_->synchronize();
  EXPECT_LT(timestamps->elapsed_us(0, 1), 1000) << "the wait lies between the marks";
  EXPECT_EQ(on_host(to), on_host(from));
}

TEST_F(Holding, LetsGoForWhoeverWaitsForTheStream) {
  const Tensor tensor = random(DType::bf16, 64, 64, 1);
  std::vector<float> values(64 * 64);
  for (int round = 0; round < 5; ++round) {
    const auto start = Clock::now();
    gpu_->hold();
    gpu_->download(values, tensor);  // copies, allocates and frees, all without release()
    gpu_->hold();
    gpu_->synchronize();
    EXPECT_LT(seconds_since(start), 1.0);
  }
}

TEST_F(Holding, LetsGoBeforeTheLaunchQueueIsFull) {
  const Tensor a = random(DType::bf16, 16, 16, 1), c = poisoned(DType::bf16, 16, 16);
  gpu_->gemm(a, a, c);
  gpu_->synchronize();
  const auto start = Clock::now();
  gpu_->hold();
  for (int i = 0; i < 5000; ++i) gpu_->gemm(a, a, c);
  gpu_->release();
  gpu_->synchronize();
  EXPECT_LT(seconds_since(start), 1.5);
}

TEST_F(Holding, GivesUpAfterTwoSeconds) {
  const auto start = Clock::now();
  gpu_->hold();
  EXPECT_EQ(cudaStreamSynchronize(stream()), cudaSuccess);  // behind the backend's back, so nobody releases
  EXPECT_GT(seconds_since(start), 1.5);
  EXPECT_LT(seconds_since(start), 4.0);
}

TEST_F(Holding, EndsWithTheBackend) {
  const auto start = Clock::now();
  gpu_->hold();
  gpu_.reset();
  EXPECT_LT(seconds_since(start), 1.5);
}

}  // namespace
}  // namespace moebench
