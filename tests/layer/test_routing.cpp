// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "layer/routing.h"

namespace moebench {
namespace {

TEST(Routing, LaysRowsOutByPeerAtHomeAndByExpertWhereTheyAreComputed) {
  const auto backend = make_cpu_backend(1);
  Routing routing({.tokens = 8, .hidden = 1, .ffn = 1, .experts = 4, .ranks = 2, .ep = 2}, 4,
                  backend->memory());
  routing.sent = {1, 0, 2, 3};      // to peer 0: experts 0, 1; to peer 1: its experts 0, 1
  routing.received = {1, 4, 5, 0};  // from peer 0: my experts 0, 1; from peer 1: my experts 0, 1
  routing.lay_out_rows();
  const auto firsts = [](const std::vector<Segment>& segments) {
    std::vector<std::int64_t> values;
    for (const Segment& segment : segments) values.push_back(segment.first);
    return values;
  };
  EXPECT_EQ(firsts(routing.home), (std::vector<std::int64_t>{0, 1, 1, 3}));
  EXPECT_EQ(firsts(routing.away), (std::vector<std::int64_t>{0, 6, 1, 10}));
  EXPECT_EQ(routing.host_offsets, (std::vector<std::int64_t>{0, 6, 10}));
  EXPECT_EQ(routing.received_rows(), 10);
}

}  // namespace
}  // namespace moebench
