// SPDX-License-Identifier: Apache-2.0
#include "bench/inputs.h"

#include <algorithm>
#include <cmath>

namespace moebench {

int input_sets_needed(const Shape& shape, std::size_t cache_bytes) {
  const double set_bytes = static_cast<double>(shape.tokens_of(shape.ranks - 1) * shape.hidden) *
                           static_cast<double>(size_of(shape.dtype));
  constexpr double kMax = 16;  // tiny inputs: the weights and activations between two uses evict them anyway
  return static_cast<int>(
      std::clamp(std::ceil(2.0 * static_cast<double>(cache_bytes) / std::max(set_bytes, 1.0)), 1.0, kMax));
}

int input_sets_of(const Case& bench_case, std::size_t cache_bytes) {
  const int for_cache =
      bench_case.cache == CacheState::hot ? 1 : input_sets_needed(bench_case.shape, cache_bytes);
  const int steps = std::max(routing_steps_of(bench_case), 1);
  return (for_cache + steps - 1) / steps * steps;
}

std::vector<InputSet> make_inputs(const Workload& workload, int rank, bool backward, int count,
                                  Backend& backend) {
  const ScopedMemoryTag scope(backend.memory(), MemoryTag::inputs);
  const Shape& shape = workload.shape();
  const std::int64_t first = shape.first_token(rank), tokens = shape.tokens_of(rank);
  std::vector<float> host(static_cast<std::size_t>(tokens * shape.hidden));
  std::vector<InputSet> sets(static_cast<std::size_t>(count));
  for (int step = 0; step < static_cast<int>(sets.size()); ++step) {
    InputSet& set = sets[static_cast<std::size_t>(step)];
    set.x = Tensor(backend.memory(), shape.dtype, tokens, shape.hidden);
    workload.input(step, first, tokens, host);
    backend.upload(set.x, host);
    if (!backward) continue;
    set.dy = Tensor(backend.memory(), shape.dtype, tokens, shape.hidden);
    workload.output_gradient(step, first, tokens, host);
    backend.upload(set.dy, host);
  }
  return sets;
}

}  // namespace moebench
