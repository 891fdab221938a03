// SPDX-License-Identifier: Apache-2.0
// How a set of independent matrix products, one or more per expert, is run: what tells the batched engines
// apart.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/cuda/runtime/gpu.h"

namespace moebench::cuda {

class Runner {
 public:
  virtual ~Runner() = default;
  /// Queues all products behind the work on the GPU's stream; later work on it waits for them.
  virtual void run(std::span<const Product> products) = 0;
};

/// One after the other on the GPU's own stream.
std::unique_ptr<Runner> make_series_runner(Gpu& gpu);
/// Product i's lane modulo `streams` says on which of as many streams, with a cuBLAS handle each, it runs:
/// the stream manager of the FastMoE paper (section 4).
std::unique_ptr<Runner> make_stream_runner(Gpu& gpu, int streams);
/// One call of cublasGemmGroupedBatchedEx for sets of up to `most` products.
std::unique_ptr<Runner> make_grouped_runner(Gpu& gpu, std::int64_t most);

}  // namespace moebench::cuda
