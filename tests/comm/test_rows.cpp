// SPDX-License-Identifier: Apache-2.0
// Segments: joining, copying through a far memory, and the exchanges that must not begin.
#include <gtest/gtest.h>

#include <numeric>

#include "comm/memories.h"
#include "comm/rows.h"
#include "comm/world.h"

namespace moebench {
namespace {

bool same(const std::vector<Segment>& a, const std::vector<Segment>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Segment& x, const Segment& y) {
    return x.first == y.first && x.rows == y.rows;
  });
}

TEST(Segments, JoinWhenTheyTouch) {
  EXPECT_TRUE(same(joined(std::vector<Segment>{{0, 2}, {2, 3}, {5, 1}}), {{0, 6}}));
  EXPECT_TRUE(same(joined(std::vector<Segment>{{0, 2}, {3, 3}}), {{0, 2}, {3, 3}}));
}

TEST(Segments, DoNotJoinBackwards) {
  EXPECT_TRUE(same(joined(std::vector<Segment>{{2, 2}, {0, 2}}), {{2, 2}, {0, 2}}));
}

TEST(Segments, EmptyOnesVanishAndDoNotKeepOthersApart) {
  EXPECT_TRUE(same(joined(std::vector<Segment>{{0, 2}, {9, 0}, {2, 3}}), {{0, 5}}));
  EXPECT_TRUE(same(joined(std::vector<Segment>{{4, 0}, {4, 0}}), {}));
  EXPECT_TRUE(same(joined({}), {}));
}

TEST(Segments, AreCutOutOfFarMemoryAndPutBackElsewhere) {
  FarMemory memory;
  Tensor from(memory, DType::fp32, 6, 1), to(memory, DType::fp32, 6, 1);
  const std::vector<float> values{0, 1, 2, 3, 4, 5};
  memory.copy_from_host(from.view().data, values.data(), 24);
  memory.copy_from_host(to.view().data, std::vector<float>(6, -1).data(), 24);
  std::vector<std::byte> host(12);
  EXPECT_EQ(copy_out(memory, from, std::vector<Segment>{{4, 2}, {1, 1}}, host.data()), host.data() + 12);
  EXPECT_EQ(copy_in(memory, to, std::vector<Segment>{{0, 1}, {3, 2}}, host.data()), host.data() + 12);
  std::vector<float> result(6);
  memory.copy_to_host(result.data(), to.view().data, 24);
  EXPECT_EQ(result, (std::vector<float>{4, -1, -1, 5, 1, -1}));
}

struct BadExchange {
  const char* name;
  Segment send, recv;
  int segments_per_peer = 1;
  std::int64_t cols = 2;
  DType dtype = DType::fp32;
};

void PrintTo(const BadExchange& exchange, std::ostream* out) { *out << exchange.name; }

class ExchangeDeathTest : public testing::TestWithParam<BadExchange> {};

TEST_P(ExchangeDeathTest, RefusesToBegin) {
  HostMemory memory;
  Tensor from(memory, DType::fp32, 4, 2), to(memory, GetParam().dtype, 4, GetParam().cols);
  const auto comm = make_self_world()->make_comm(memory, {});
  const RowExchange exchange{
      from, to, {&GetParam().send, 1}, {&GetParam().recv, 1}, GetParam().segments_per_peer};
  EXPECT_DEATH(comm->exchange_rows(exchange), "rows.cpp");
}

INSTANTIATE_TEST_SUITE_P(Bad, ExchangeDeathTest,
                         testing::Values(BadExchange{"PastTheEndOfSend", {3, 2}, {0, 2}},
                                         BadExchange{"PastTheEndOfRecv", {0, 2}, {3, 2}},
                                         BadExchange{"NegativeFirst", {-1, 1}, {0, 1}},
                                         BadExchange{"NegativeRows", {0, -1}, {0, -1}},
                                         BadExchange{"OverflowingSegment", {INT64_MAX, INT64_MAX}, {0, 1}},
                                         BadExchange{"MoreSentToItselfThanReceived", {0, 2}, {0, 1}},
                                         BadExchange{"SegmentsMissing", {0, 1}, {0, 1}, 2},
                                         BadExchange{"NoSegmentsPerPeer", {0, 1}, {0, 1}, 0},
                                         BadExchange{"OtherWidth", {0, 1}, {0, 1}, 1, 3},
                                         BadExchange{"OtherDType", {0, 1}, {0, 1}, 1, 2, DType::bf16}),
                         [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace moebench
