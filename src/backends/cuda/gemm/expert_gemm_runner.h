// SPDX-License-Identifier: Apache-2.0
// Runs a set of independent matrix products, one or more per expert, by cuBLAS. The batched engines differ in nothing
// else.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/cuda/runtime/gpu.h"

namespace moebench::cuda {

class ExpertGemmRunner {
 public:
  virtual ~ExpertGemmRunner() = default;
  /// Queues all products after the work on the GPU's stream; later work on it waits for them.
  virtual void run(std::span<const GemmArgs> products) = 0;
};

/// One after the other on the GPU's own stream.
std::unique_ptr<ExpertGemmRunner> make_series_runner(Gpu& gpu);
/// Product i's lane modulo `streams` says on which of as many streams, with a cuBLAS handle each, it runs:
/// the stream manager of the FastMoE paper (section 4).
std::unique_ptr<ExpertGemmRunner> make_stream_runner(Gpu& gpu, int streams);
/// One call of cublasGemmGroupedBatchedEx for sets of up to `max_products` products.
std::unique_ptr<ExpertGemmRunner> make_cublas_grouped_runner(Gpu& gpu, std::int64_t max_products);

}  // namespace moebench::cuda
