// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "report/sharing.h"

namespace moebench {
namespace {

RankInfo rank(int number, const std::string& host, const std::string& cores, const std::string& uuid = "") {
  return {.rank = number, .host = host, .pid = 100 + number, .device = "some", .uuid = uuid, .cores = cores};
}

TEST(Sharing, IsSaidOfRanksThatOutnumberTheHardwareThreadsOfTheirHost) {
  Machine machine;
  for (int i = 0; i < 3; ++i) machine.ranks.push_back(rank(i, "a", "0-1"));
  machine.ranks.push_back(rank(3, "b", "0-7"));
  const auto said = sharing_of(machine);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0], "3 ranks share 2 hardware threads of a: they take turns");
}

TEST(Sharing, IsNotSaidOfRanksWithCoresOfTheirOwnOrUnknownOnes) {
  EXPECT_TRUE(sharing_of({.ranks = {rank(0, "a", "0"), rank(1, "a", "1,3-4")}}).empty());
  EXPECT_TRUE(sharing_of({.ranks = {rank(0, "a", ""), rank(1, "a", "0")}}).empty());
}

TEST(Sharing, IsSaidOfRanksOnOneGpu) {
  const auto said = sharing_of(
      {.ranks = {rank(0, "a", "0-7", "GPU-1"), rank(1, "a", "0-7", "GPU-1"), rank(2, "a", "0-7", "GPU-2")}});
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0], "2 ranks share 1 GPU (GPU-1): they take turns");
}

}  // namespace
}  // namespace moebench
