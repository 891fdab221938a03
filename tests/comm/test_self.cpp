// SPDX-License-Identifier: Apache-2.0
// The world of one rank.
#include <gtest/gtest.h>

#include "base/error.h"
#include "comm/world.h"

namespace moebench {
namespace {

TEST(SelfWorld, IsOneRankThatHearsItself) {
  const auto world = make_self_world();
  EXPECT_EQ(world->name(), "self");
  EXPECT_EQ(world->rank(), 0);
  EXPECT_EQ(world->size(), 1);
  EXPECT_EQ(world->local_rank(), 0);
  EXPECT_EQ(world->local_size(), 1);
  world->barrier();
  world->wait_idle();
  EXPECT_EQ(world->gather(std::vector<double>{1, 2}), (std::vector<double>{1, 2}));
  EXPECT_EQ(world->gather_text("a"), std::vector<std::string>{"a"});
  EXPECT_EQ(world->broadcast("b"), "b");
}

TEST(SelfWorld, HasAFirstRankButNoSecond) {
  const auto world = make_self_world();
  EXPECT_EQ(world->first(1)->size(), 1);
  EXPECT_THROW(world->first(2), UsageError);
  EXPECT_THROW(world->first(0), UsageError);
}

TEST(SelfWorldDeathTest, AbortsWithTheCodeItIsGiven) {
  EXPECT_EXIT(make_self_world()->abort(124), testing::ExitedWithCode(124), "");
}

}  // namespace
}  // namespace moebench
