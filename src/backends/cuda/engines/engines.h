// SPDX-License-Identifier: Apache-2.0
// The expert engines of a GPU, all but the fused ones on cuBLAS.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/gemm/expert_gemm_runner.h"
#include "backends/cuda/runtime/gpu.h"
#include "backends/engine.h"

namespace moebench::cuda {

/// grouped        rows sorted by expert; all experts in one launch of our own kernels, sizes read on the device
/// loop           rows sorted by expert; one matrix product per expert and matrix, one after the other
/// streams        the same products, expert i on stream i mod n: the FastMoE paper's stream manager
/// cublas-grouped the same products, all experts in one library call
/// naive-sample   row by row: products of one row
/// naive-mask     per expert: find its rows by a mask over all rows, count them on the host, gather, run, write back
/// naive-rau      sort, one gather, counts on the host, experts in series, concatenate, write back by index
std::vector<std::string> engine_names();
/// grouped in 16-bit formats, but not where more than 1536 rows per expert meet a hidden size above 2048: there
/// cuBLAS's products fill the GPU one by one, and the activation's own pass costs little beside them. (On an H200
/// streams is 2 to 6 % faster with 2048 rows and hidden 4096, and 11 % slower with hidden 1024.)
std::string best_engine(const Shape& shape);
/// The same in words.
std::string best_engine_rule();
/// The traits of one of engine_names() on a GPU with all of its kernels; the default for any other name.
EngineTraits engine_traits(std::string_view name, const EngineShape& shape);
/// Why one of engine_names() cannot run experts of this shape; empty if it can.
std::string why_not(std::string_view name, const EngineShape& shape);
/// Throws UsageError for an unknown name or a shape that the engine cannot run.
std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape, Gpu& gpu);

/// cuBLAS takes the number of rows from the host.
inline constexpr EngineTraits kBatchedTraits{.waits_for_sizes = true};
inline constexpr EngineTraits kNaiveTraits{.row_order = RowOrder::by_token, .waits_for_sizes = true};

std::unique_ptr<Engine> make_batched_engine(const EngineShape& shape, Gpu& gpu,
                                            std::unique_ptr<ExpertGemmRunner> runner);
/// Its traits with the kernels for Hopper; the others fuse nothing and take no parts.
EngineTraits grouped_traits(const EngineShape& shape);
std::unique_ptr<Engine> make_grouped_engine(const EngineShape& shape, Gpu& gpu);
std::unique_ptr<Engine> make_sample_engine(const EngineShape& shape, Gpu& gpu);
std::unique_ptr<Engine> make_mask_engine(const EngineShape& shape, Gpu& gpu);
std::unique_ptr<Engine> make_rau_engine(const EngineShape& shape, Gpu& gpu);

}  // namespace moebench::cuda
