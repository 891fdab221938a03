// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "bench/inputs.h"
#include "bench/subject.h"

namespace moebench {
namespace {

TEST(Inputs, TogetherExceedTheCacheTwice) {
  const Shape shape{.tokens = 1024, .hidden = 1024};  // 4 MiB
  EXPECT_EQ(input_sets_needed(shape, std::size_t{32} << 20), 16);
  EXPECT_EQ(input_sets_needed(shape, std::size_t{8} << 20), 4);
  EXPECT_EQ(input_sets_needed(shape, std::size_t{3} << 20), 2);  // 1.5 sets would not be enough
  EXPECT_EQ(input_sets_needed(shape, 1), 1);
  EXPECT_EQ(input_sets_needed({.tokens = 0, .hidden = 8}, 1 << 20), 16);
}

TEST(Inputs, AreAMultipleOfTheRoutingSteps) {
  Case bench_case{.shape = {.tokens = 1024, .hidden = 1024, .experts = 8, .top_k = 2}};
  const std::size_t cache = std::size_t{8} << 20;  // four sets
  EXPECT_EQ(input_sets_of(bench_case, cache), 4);
  bench_case.steps = 3;
  EXPECT_EQ(input_sets_of(bench_case, cache), 6);
  bench_case.cache = CacheState::hot;
  EXPECT_EQ(input_sets_of(bench_case, cache), 3);
  bench_case.steps = 0;
  bench_case.routing = parse_routing("W7");
  EXPECT_EQ(input_sets_of(bench_case, cache), 4);
  bench_case.subject = SubjectKind::dense;
  EXPECT_EQ(input_sets_of(bench_case, cache), 1);
}

TEST(GradientSync, IsNotReplayedAndWaitsUnlessOverNccl) {
  Case step{.shape = {.ranks = 2}, .passes = PassSet::step, .comm = "mpi"};
  EXPECT_TRUE(sync_waits(step));
  EXPECT_EQ(why_no_graph_of_sync(step), "the gradient sync between ranks waits for the device");
  step.comm = "nccl";
  EXPECT_FALSE(sync_waits(step));
  EXPECT_EQ(why_no_graph_of_sync(step),
            "a replayed gradient sync over NCCL would wait for other ranks without a limit");
  step.shape.ranks = 1;
  EXPECT_EQ(why_no_graph_of_sync(step), "");
  step.shape.ranks = 2;
  step.passes = PassSet::fwd_bwd;
  EXPECT_EQ(why_no_graph_of_sync(step), "");
}

}  // namespace
}  // namespace moebench
