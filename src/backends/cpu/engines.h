// SPDX-License-Identifier: Apache-2.0
// The CPU's expert engines: one batched, and the three naive ones it is compared with.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/engine.h"
#include "base/thread_pool.h"

namespace moebench::cpu {

/// loop          rows sorted by expert; one matrix product per expert and matrix
/// naive-sample  row by row: matrix-vector products
/// naive-mask    per expert: find its rows by a mask over all rows, gather, run, write back
/// naive-rau     sort, one gather, experts in series, concatenate, write back by index
std::vector<std::string> engine_names();
/// The traits of one of engine_names(); the default for any other name.
EngineTraits engine_traits(std::string_view name);
/// Why one of engine_names() cannot run experts of this shape; empty if it can.
std::string why_not(std::string_view name, const EngineShape& shape);
/// Throws UsageError for an unknown name or a shape that the engine cannot run.
std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape, ThreadPool& pool,
                                    Memory& memory);

}  // namespace moebench::cpu
