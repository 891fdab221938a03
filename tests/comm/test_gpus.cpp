// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "comm/gpus.h"

namespace moebench {
namespace {

std::string why(const std::vector<std::string>& uuids) { return why_gpus_are_shared(uuids); }

TEST(WhyGpusAreShared, IsEmptyIfEachRankComputesOnAGpuOfItsOwn) {
  EXPECT_EQ(why({}), "");
  EXPECT_EQ(why({"GPU-a"}), "");
  EXPECT_EQ(why({"GPU-a", "GPU-b"}), "");
  EXPECT_EQ(why({"GPU-b", "GPU-c", "GPU-a", "GPU-d"}), "");
}

TEST(WhyGpusAreShared, NamesTheRanksAndTheirGpu) {
  EXPECT_EQ(why({"GPU-a", "GPU-a"}), "ranks 0 and 1 share GPU-a, and NCCL wants a GPU for each");
  EXPECT_EQ(why({"GPU-a", "GPU-b", "GPU-c", "GPU-b"}),
            "ranks 1 and 3 share GPU-b, and NCCL wants a GPU for each");
  EXPECT_EQ(why({"GPU-a", "GPU-b", "GPU-a", "GPU-a"}),
            "ranks 0, 2 and 3 share GPU-a, and NCCL wants a GPU for each");
}

TEST(WhyGpusAreShared, AGpuWhoseUuidIsNotKnownIsSharedWithNone) {
  EXPECT_EQ(why({"", "", "GPU-a"}), "");
  EXPECT_EQ(why({"", "GPU-a", "GPU-a"}), "ranks 1 and 2 share GPU-a, and NCCL wants a GPU for each");
}

}  // namespace
}  // namespace moebench
