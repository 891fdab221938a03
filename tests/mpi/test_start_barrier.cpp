// SPDX-License-Identifier: Apache-2.0
// The barrier of devices before an iteration, by CPU ranks that share memory. Under mpirun.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "backends/cpu/cpu_backend.h"
#include "bench/start_barrier.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

using Clock = std::chrono::steady_clock;

TEST(StartBarrier, HoldsEveryRankUntilTheLastHasCome) {
  World& world = world_under_test();
  const auto backend = make_cpu_backend(1);
  const auto comm = world.make_comm(backend->memory(), backend->stream());
  StartBarrier barrier(*comm, *backend);
  ASSERT_EQ(barrier.works(), world.size() > 1);
  for (int last = 0; last < world.size(); ++last) {
    world.barrier();
    if (world.rank() == last) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    const auto came = std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
    barrier.queue();
    const auto left = std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
    const auto all = world.gather(std::vector{came});
    EXPECT_GE(left, all[static_cast<std::size_t>(last)]) << "rank " << last << " came last";
  }
}

}  // namespace
}  // namespace moebench
