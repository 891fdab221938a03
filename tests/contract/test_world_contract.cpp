// SPDX-License-Identifier: Apache-2.0
// The contract of World in comm/world.h as tests: the control plane between real ranks, whatever joined them.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <span>
#include <thread>

#include "base/error.h"
#include "comm/memories.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

World& world() { return world_under_test(); }

TEST(WorldContract, AgreesWithTheLauncher) {
  const Launch launch = detect_launch();
  EXPECT_EQ(world().rank(), launch.rank);
  EXPECT_EQ(world().size(), launch.size);
  EXPECT_EQ(world().local_size(), world().size()) << "all ranks of this test are on one host";
  EXPECT_EQ(world().local_rank(), world().rank());
}

TEST(WorldContract, HoldsEveryRankAtABarrierUntilTheLastOne) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kDelay = std::chrono::milliseconds(200);
  world().barrier();
  const auto start = Clock::now();
  if (world().rank() == world().size() - 1) std::this_thread::sleep_for(kDelay);
  world().barrier();
  EXPECT_GE(Clock::now() - start,
            kDelay * 9 / 10);  // ranks leave the first barrier at slightly different times
}

TEST(WorldContract, GathersNumbersByRank) {
  const double me = world().rank();
  const auto all = world().gather(std::vector<double>{me, me + 0.5});
  ASSERT_EQ(all.size(), 2u * world().size());
  for (int rank = 0; rank < world().size(); ++rank) {
    EXPECT_EQ(all[2 * rank], rank);
    EXPECT_EQ(all[2 * rank + 1], rank + 0.5);
  }
  EXPECT_TRUE(world().gather({}).empty());
}

TEST(WorldContract, GathersStructsByRank) {
  struct Pair {
    double value;
    std::int32_t rank;
    bool odd;
  };
  const int me = world().rank();
  const std::vector<Pair> mine{{std::nan(""), me, me % 2 == 1}, {me + 0.25, -me, false}};
  const auto all = gather_by_rank(world(), std::span<const Pair>(mine));
  ASSERT_EQ(all.size(), static_cast<std::size_t>(world().size()));
  for (int rank = 0; rank < world().size(); ++rank) {
    ASSERT_EQ(all[rank].size(), 2u);
    EXPECT_TRUE(std::isnan(all[rank][0].value));
    EXPECT_EQ(all[rank][0].rank, rank);
    EXPECT_EQ(all[rank][0].odd, rank % 2 == 1);
    EXPECT_EQ(all[rank][1].value, rank + 0.25);
    EXPECT_EQ(gather_each(world(), mine[1])[rank].rank, -rank);
  }
  EXPECT_TRUE(gather_by_rank(world(), std::span<const Pair>()).at(0).empty());
}

TEST(WorldContract, GathersTextOfAnyLength) {
  const auto text = [](int rank) { return std::string(rank * 100000, 'a' + rank) + std::string(1, '\0'); };
  const auto all = world().gather_text(world().rank() == 1 ? "" : text(world().rank()));
  ASSERT_EQ(all.size(), static_cast<std::size_t>(world().size()));
  for (int rank = 0; rank < world().size(); ++rank) EXPECT_EQ(all[rank], rank == 1 ? "" : text(rank));
}

TEST(WorldContract, BroadcastsTheTextOfRankZero) {
  for (const std::string& text : {std::string(), std::string("suite"), std::string(3'000'000, 'x')})
    EXPECT_EQ(world().broadcast(world().rank() == 0 ? text : "not this"), text);
}

TEST(WorldContract, HasWorldsOfItsFirstRanks) {
  for (int ranks = 1; ranks <= world().size(); ++ranks) {
    const auto part = world().first(ranks);
    EXPECT_EQ(part != nullptr, world().rank() < ranks);
    if (part) {
      EXPECT_EQ(part->size(), ranks);
      EXPECT_EQ(part->rank(), world().rank());
      EXPECT_EQ(part->local_size(), ranks);
      EXPECT_EQ(part->gather(std::vector<double>{1.0}).size(), static_cast<std::size_t>(ranks));
      HostMemory memory;
      const auto comm = part->make_comm(memory, {});
      EXPECT_EQ(comm->size(), ranks);
      const auto alone = part->first(1);
      EXPECT_EQ(alone != nullptr, part->rank() == 0);
    }
    world().wait_idle();
  }
}

TEST(WorldContract, RefusesMoreRanksThanItHas) {
  EXPECT_THROW(world().first(world().size() + 1), UsageError);
  EXPECT_THROW(world().first(0), UsageError);
}

TEST(WorldContract, WaitsIdleWithoutUsingTheCore) {
  timespec before, after;
  world().barrier();
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  if (world().rank() == 0) std::this_thread::sleep_for(std::chrono::seconds(1));
  world().wait_idle();
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const double used_s =
      static_cast<double>(after.tv_sec - before.tv_sec) + 1e-9 * (after.tv_nsec - before.tv_nsec);
  EXPECT_LT(used_s, 0.2);
}

}  // namespace
}  // namespace moebench
