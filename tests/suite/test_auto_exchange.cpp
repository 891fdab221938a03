// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/text.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

TEST(AutoExchange, IsTheBestThatCanRun) {
  const SweepRequest request{.command_line = {{"ranks", "2"}, {"exchange", "auto"}, {"overlap", "auto"}}};
  std::string refused;  // overlap, or exchange, that cannot run
  RunCapabilities machine{.ranks = 2, .peers_share_memory = true, .why_not = [&](const Case& point) {
                            const bool direct = point.exchange == Exchange::direct;
                            if (refused == "tile" && direct && point.overlap == Overlap::tile)
                              return std::string("no");
                            return refused == "direct" && direct ? std::string("no") : std::string();
                          }};
  const auto chosen = [&] {
    const Case point = expand_sweep(request, machine).cases.front();
    return cat(name_of(point.exchange), " ", name_of(point.overlap));
  };
  EXPECT_EQ(chosen(), "direct tile");
  refused = "tile";
  EXPECT_EQ(chosen(), "direct none");
  refused = "direct";
  EXPECT_EQ(chosen(), "fused none");
  refused.clear();
  machine.peers_share_memory = false;
  EXPECT_EQ(chosen(), "fused none");
}

}  // namespace
}  // namespace moebench
