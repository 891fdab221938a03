// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/gemm/expert_gemm_runner.h"

#include "base/error.h"

namespace moebench::cuda {
namespace {

class SeriesRunner final : public ExpertGemmRunner {
 public:
  explicit SeriesRunner(Gpu& gpu) : gpu_(gpu) {}
  void run(std::span<const GemmArgs> products) override {
    for (const GemmArgs& product : products) gpu_.blas.multiply(product);
  }

 private:
  Gpu& gpu_;
};

class StreamRunner final : public ExpertGemmRunner {
 public:
  StreamRunner(Gpu& gpu, int streams) : gpu_(gpu), fork_(make_event(false)) {
    for (int i = 0; i < streams; ++i) lanes_.push_back(std::make_unique<Lane>(gpu));
  }
  ~StreamRunner() override { gpu_.blocking.unblock(); }

  void run(std::span<const GemmArgs> products) override {
    MB_CUDA(cudaEventRecord(fork_.get(), gpu_.stream.get()));
    for (const auto& lane : lanes_) MB_CUDA(cudaStreamWaitEvent(lane->stream.get(), fork_.get()));
    for (const GemmArgs& product : products)
      lanes_[static_cast<std::size_t>(product.lane) % lanes_.size()]->blas.multiply(product);
    for (const auto& lane : lanes_) {
      MB_CUDA(cudaEventRecord(lane->join.get(), lane->stream.get()));
      MB_CUDA(cudaStreamWaitEvent(gpu_.stream.get(), lane->join.get()));
    }
  }

 private:
  struct Lane {
    explicit Lane(Gpu& gpu)
        : stream(make_stream()), join(make_event(false)), blas(stream.get(), gpu.memory, gpu.blocking) {}
    Stream stream;
    Event join;
    Blas blas;
  };
  Gpu& gpu_;
  Event fork_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

class CublasGroupedRunner final : public ExpertGemmRunner {
 public:
  CublasGroupedRunner(Gpu& gpu, std::int64_t max_products)
      : gpu_(gpu), pointers_(gpu.memory, static_cast<std::size_t>(3 * max_products) * sizeof(void*)) {}
  void run(std::span<const GemmArgs> products) override {
    MB_ASSERT(3 * products.size() * sizeof(void*) <= pointers_.bytes());
    gpu_.blas.multiply_grouped(products, pointers_.as<void*>());
  }

 private:
  Gpu& gpu_;
  Buffer pointers_;
};

}  // namespace

std::unique_ptr<ExpertGemmRunner> make_series_runner(Gpu& gpu) { return std::make_unique<SeriesRunner>(gpu); }
std::unique_ptr<ExpertGemmRunner> make_stream_runner(Gpu& gpu, int streams) {
  return std::make_unique<StreamRunner>(gpu, streams);
}
std::unique_ptr<ExpertGemmRunner> make_cublas_grouped_runner(Gpu& gpu, std::int64_t max_products) {
  return std::make_unique<CublasGroupedRunner>(gpu, max_products);
}

}  // namespace moebench::cuda
