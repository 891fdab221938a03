// SPDX-License-Identifier: Apache-2.0
// Whether the threads of this host's ranks have a core each.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/world.h"

namespace moebench {

/// The cores that one rank may run on, by their numbers, and the threads that it runs.
struct RankCores {
  std::string host;
  int threads = 1;
  std::vector<int> cores;
};

/// Whether the ranks of `host`, together, may run on at least as many cores as they have threads.
bool have_a_core_each(std::span<const RankCores> ranks, std::string_view host);

/// The same of this host, asked of all ranks; also false if the container's quota is less than this rank's threads.
/// Collective.
bool threads_have_a_core_each(World& world, const std::string& host, int threads);

}  // namespace moebench
