// SPDX-License-Identifier: Apache-2.0
// Memory that the CPU ranks of one host share. Under mpirun.
#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "comm/peer_memory.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

constexpr std::size_t kBytes = 100000;

TEST(PeerMemory, IsZeroWhenMadeAndShowsWhatEveryRankWrites) {
  World& world = world_under_test();
  const auto backend = make_cpu_backend(1);
  const auto comm = world.make_comm(backend->memory(), backend->stream());
  const PeerMemoryResult peers = make_peer_memory(*comm, backend->memory(), kBytes);
  ASSERT_TRUE(peers.memory) << peers.why_not;
  const auto& blocks = peers.memory->blocks();
  const auto ranks = static_cast<std::size_t>(world.size()), rank = static_cast<std::size_t>(world.rank());
  ASSERT_EQ(blocks.size(), ranks);
  for (std::size_t i = 0; i < kBytes; ++i) ASSERT_EQ(blocks[rank][i], std::byte{0}) << i;
  world.barrier();
  for (std::byte* block : blocks) block[kBytes - 1 - rank] = static_cast<std::byte>(rank + 1);
  world.barrier();
  for (std::size_t p = 0; p < ranks; ++p)
    for (std::size_t writer = 0; writer < ranks; ++writer)
      EXPECT_EQ(blocks[p][kBytes - 1 - writer], static_cast<std::byte>(writer + 1)) << p;
  world.barrier();
}

TEST(PeerMemory, BlocksOfTwoRequestsAreApart) {
  World& world = world_under_test();
  const auto backend = make_cpu_backend(1);
  const auto comm = world.make_comm(backend->memory(), backend->stream());
  const PeerMemoryResult first = make_peer_memory(*comm, backend->memory(), kBytes);
  const PeerMemoryResult second = make_peer_memory(*comm, backend->memory(), kBytes);
  ASSERT_TRUE(first.memory && second.memory);
  for (std::byte* block : first.memory->blocks()) block[0] = std::byte{7};
  world.barrier();
  for (const std::byte* block : second.memory->blocks()) EXPECT_EQ(block[0], std::byte{0});
  world.barrier();
}

}  // namespace
}  // namespace moebench
