// SPDX-License-Identifier: Apache-2.0
#include "cli/cores.h"

#include <set>

#include "base/text.h"
#include "base/thread_pool.h"
#include "bench/environment.h"

namespace moebench {

bool have_a_core_each(std::span<const RankCores> ranks, std::string_view host) {
  std::set<int> cores;
  std::size_t threads = 0;
  for (const RankCores& rank : ranks) {
    if (rank.host != host) continue;
    cores.insert(rank.cores.begin(), rank.cores.end());
    threads += static_cast<std::size_t>(rank.threads);
  }
  return threads <= cores.size();
}

bool threads_have_a_core_each(World& world, const std::string& host, int threads) {
  std::vector<std::string> cores;
  for (const int core : usable_core_numbers()) cores.push_back(cat(core));
  std::vector<RankCores> ranks;
  for (const std::string& text : world.gather_text(cat(host, "\n", threads, "\n", join(cores, ",")))) {
    const auto parts = split(text, '\n');
    ranks.push_back({.host = parts[0], .threads = static_cast<int>(to_int(parts[1]).value_or(1))});
    for (const std::string& core : split(parts[2], ','))
      ranks.back().cores.push_back(static_cast<int>(to_int(core).value_or(0)));
  }
  const double quota = read_environment().cpu.quota_threads;
  return have_a_core_each(ranks, host) && (quota == 0 || threads <= quota);
}

}  // namespace moebench
