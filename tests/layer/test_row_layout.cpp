// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "layer/dispatch/row_layout.h"

namespace moebench {
namespace {

TEST(RowLayout, OrdersSentRowsByPeerAndReceivedRowsByExpert) {
  RowLayout layout(2, 2);
  layout.sent = {1, 0, 2, 3};      // to peer 0: experts 0, 1; to peer 1: its experts 0, 1
  layout.received = {1, 4, 5, 0};  // from peer 0: my experts 0, 1; from peer 1: my experts 0, 1
  layout.lay_out();
  const auto firsts = [](const std::vector<Segment>& segments) {
    std::vector<std::int64_t> values;
    for (const Segment& segment : segments) values.push_back(segment.first);
    return values;
  };
  EXPECT_EQ(firsts(layout.send_segments), (std::vector<std::int64_t>{0, 1, 1, 3}));
  EXPECT_EQ(firsts(layout.recv_segments), (std::vector<std::int64_t>{0, 6, 1, 10}));
  EXPECT_EQ(layout.offsets, (std::vector<std::int64_t>{0, 6, 10}));
  EXPECT_EQ(layout.received_rows(), 10);
}

}  // namespace
}  // namespace moebench
