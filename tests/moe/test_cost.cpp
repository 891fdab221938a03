// SPDX-License-Identifier: Apache-2.0
// Every expected number below is worked out by hand from docs/formulas.md.
#include <gtest/gtest.h>

#include "moe/cost.h"

namespace moebench {
namespace {

// The paper's single-GPU experiment: 4096 tokens, 1024 -> 4096 -> 1024, 8 experts, top-2, fp32.
const Shape kPaper{.tokens = 4096, .hidden = 1024, .ffn = 4096, .experts = 8, .top_k = 2};
const RankLoad kAll{.tokens = 4096, .rows = 8192, .active_experts = 8};

TEST(Cost, CountsTheExpertsMatrixProducts) {
  // 8192 rows x (1024·4096 + 4096·1024) x 2
  EXPECT_EQ(cost_of(kPaper, kAll, Stage::experts, Pass::forward).flops, 137438953472.0);
  EXPECT_EQ(cost_of(kPaper, kAll, Stage::experts, Pass::backward).flops, 2 * 137438953472.0);
}

TEST(Cost, CountsTheWeightOfAGateInFp32) {
  Shape narrow = kPaper;
  narrow.dtype = DType::bf16;
  Shape wide = narrow;
  wide.fp32_router = true;
  const auto more = [&](Pass pass) {
    return cost_of(wide, kAll, Stage::gate, pass).bytes - cost_of(narrow, kAll, Stage::gate, pass).bytes;
  };
  EXPECT_EQ(more(Pass::forward), 2.0 * 1024 * 8);
  EXPECT_EQ(more(Pass::backward), 2 * 2.0 * 1024 * 8);
  const MemoryEstimate a = estimate_memory(narrow, true, 1), b = estimate_memory(wide, true, 1);
  EXPECT_EQ(b.weights - a.weights, 2.0 * 1024 * 8);
  EXPECT_EQ(b.gradients - a.gradients, 2.0 * 1024 * 8);
  EXPECT_EQ(b.activations - a.activations, 4.0 * 4096 * 1024);
}

TEST(Cost, CountsSharedExpertsOverEveryToken) {
  Shape shape = kPaper;
  EXPECT_EQ(cost_of(shape, kAll, Stage::shared, Pass::forward).bytes, 0);
  shape.shared_experts = 3;
  // 3 experts x 2 matrices of 4 Mi elements; x, y and the sum of 4096 rows of 4 KiB
  const StageCost forward = cost_of(shape, kAll, Stage::shared, Pass::forward),
                  backward = cost_of(shape, kAll, Stage::shared, Pass::backward);
  EXPECT_EQ(forward.flops, 2.0 * 4096 * 3 * 8388608);
  EXPECT_EQ(forward.bytes, 3.0 * 8388608 * 4 + 3 * 4096 * 4096.0);
  EXPECT_EQ(backward.flops, 2 * forward.flops);
  EXPECT_EQ(backward.bytes, 6.0 * 8388608 * 4 + 4096 * (4 * 4096.0 + 3 * 4096 * 4));
  EXPECT_EQ(cost_of(shape, kAll, Pass::forward).flops - cost_of(kPaper, kAll, Pass::forward).flops,
            forward.flops);
}

TEST(Cost, CountsThreeMatricesForSwiglu) {
  Shape shape = kPaper;
  shape.activation = Activation::swiglu;
  EXPECT_EQ(cost_of(shape, kAll, Stage::experts, Pass::forward).flops, 206158430208.0);  // 6·8192·1024·4096
}

TEST(Cost, CountsTheGate) {
  EXPECT_EQ(cost_of(kPaper, kAll, Stage::gate, Pass::forward).flops, 67108864.0);  // 2·4096·1024·8
  EXPECT_EQ(cost_of(kPaper, kAll, Stage::gate, Pass::backward).flops, 134217728.0);
}

TEST(Cost, CountsBytesEachReadAndWrittenOnce) {
  // pack: 4096 rows in, 8192 rows out, 4 KiB each, and 8192 indices of 4 bytes
  EXPECT_EQ(cost_of(kPaper, kAll, Stage::pack, Pass::forward).bytes, 12288.0 * 4096 + 32768);
  // combine backward: dy 4096 rows in, 8192 rows out; index, score and its gradient per slot
  EXPECT_EQ(cost_of(kPaper, kAll, Stage::combine, Pass::backward).bytes, 12288.0 * 4096 + 8192 * 12);
  // experts: 8 experts x 2 x 4 Mi weights x 4 bytes, rows in and out
  EXPECT_EQ(cost_of(kPaper, kAll, Stage::experts, Pass::forward).bytes,
            8.0 * 8388608 * 4 + 2 * 8192 * 4096.0);
}

TEST(Cost, ReadsOnlyTheWeightsOfExpertsThatHaveRows) {
  RankLoad one = kAll;
  one.active_experts = 1;
  const double all_bytes = cost_of(kPaper, kAll, Stage::experts, Pass::forward).bytes;
  EXPECT_EQ(all_bytes - cost_of(kPaper, one, Stage::experts, Pass::forward).bytes, 7.0 * 8388608 * 4);
}

TEST(Cost, SendsNothingWithOneRank) {
  for (const Stage stage : {Stage::sizes, Stage::dispatch, Stage::collect}) {
    const StageCost cost = cost_of(kPaper, kAll, stage, Pass::forward);
    EXPECT_EQ(cost.bytes + cost.link_bytes + cost.messages, 0) << name_of(stage);
  }
}

TEST(Cost, CountsTheLargerDirectionOfAnExchange) {
  Shape shape = kPaper;
  shape.ranks = shape.ep = 2;
  shape.tokens = 8192;
  const RankLoad load{.tokens = 4096,
                      .rows = 9000,
                      .active_experts = 4,
                      .sent_rows = 4000,
                      .received_rows = 4808,
                      .peers = 1};
  const StageCost cost = cost_of(shape, load, Stage::dispatch, Pass::forward);
  EXPECT_EQ(cost.link_bytes, 4808.0 * 4096);
  EXPECT_EQ(cost.bytes, 2.0 * (8192 - 4000) * 4096);  // rows that stay are copied
  EXPECT_EQ(cost.messages, 1);
  EXPECT_EQ(cost_of(shape, load, Stage::sizes, Pass::forward).link_bytes, 4 * 8);
}

TEST(Cost, CountsRowsOncePerRankWhereTheyAreDeduplicated) {
  const Shape shape{
      .tokens = 8192, .hidden = 1024, .ffn = 4096, .experts = 8, .top_k = 2, .ranks = 2, .ep = 2};
  const RankLoad load{.tokens = 4096,
                      .rows = 8200,
                      .active_experts = 4,
                      .sent_rows = 3200,
                      .received_rows = 3300,
                      .peers = 1,
                      .deduplicated = true,
                      .sent_copies = 4000,
                      .received_copies = 4008};
  const double row = 4096;
  const auto of = [&](Stage stage, Pass pass) { return cost_of(shape, load, stage, pass); };
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    EXPECT_EQ(of(Stage::dispatch, pass).link_bytes, 3300 * row);
    EXPECT_EQ(of(Stage::collect, pass).link_bytes, 3300 * row);
  }
  EXPECT_EQ(of(Stage::dispatch, Pass::forward).bytes, 3200 * row);
  EXPECT_EQ(of(Stage::collect, Pass::forward).bytes, 4008 * row);
  EXPECT_EQ(of(Stage::pack, Pass::forward).bytes, (3300 + 4096 + 8200) * row + 8200 * 8);
  EXPECT_EQ(of(Stage::combine, Pass::forward).bytes, (4192 + 3200 + 4096) * row + 8200 * 8);
  EXPECT_EQ(of(Stage::collect, Pass::backward).bytes, of(Stage::dispatch, Pass::forward).bytes);
  EXPECT_EQ(of(Stage::sizes, Pass::forward).link_bytes, 32);
}

TEST(Cost, CountsReturningRowsOncePerExpertIfTheExpertsStoreThem) {
  const Shape shape{
      .tokens = 8192, .hidden = 1024, .ffn = 4096, .experts = 8, .top_k = 2, .ranks = 2, .ep = 2};
  const RankLoad load{.tokens = 4096,
                      .rows = 8200,
                      .active_experts = 4,
                      .sent_rows = 3200,
                      .received_rows = 3300,
                      .peers = 1,
                      .deduplicated = true,
                      .returns_by_slot = true,
                      .sent_copies = 4000,
                      .received_copies = 4008};
  const double row = 4096;
  const auto of = [&](Stage stage, Pass pass) { return cost_of(shape, load, stage, pass); };
  EXPECT_EQ(of(Stage::dispatch, Pass::forward).link_bytes, 3300 * row);
  EXPECT_EQ(of(Stage::collect, Pass::backward).link_bytes, 3300 * row);
  EXPECT_EQ(of(Stage::collect, Pass::forward).link_bytes, 4008 * row);
  EXPECT_EQ(of(Stage::dispatch, Pass::backward).link_bytes, 4008 * row);
  EXPECT_EQ(of(Stage::collect, Pass::forward).bytes, 0);
  EXPECT_EQ(of(Stage::combine, Pass::forward).bytes, (8192 + 4096) * row + 8192 * 8);
  EXPECT_EQ(of(Stage::pack, Pass::backward).bytes, of(Stage::combine, Pass::forward).bytes);
}

TEST(Cost, SynchronisesByTag) {
  Shape shape = kPaper;
  shape.ranks = 4;
  shape.ep = 4;  // every expert on one rank: only the gate is summed, over 4 ranks
  EXPECT_EQ(cost_of(shape, kAll, Pass::sync).link_bytes, 2.0 * 3 / 4 * 1024 * 8 * 4);
  shape.ep = 2;  // two replicas of each expert; 4 experts per rank
  EXPECT_EQ(cost_of(shape, kAll, Pass::sync).link_bytes,
            2.0 * 3 / 4 * 1024 * 8 * 4 + 2.0 * 1 / 2 * 4 * 8388608 * 4);
}

TEST(Cost, AddsUpOverAPass) {
  // 4·T·k·d·h + 2·T·d·E forward, as the paper counts; twice that backward
  EXPECT_EQ(cost_of(kPaper, kAll, Pass::forward).flops, 137438953472.0 + 67108864.0);
  EXPECT_EQ(cost_of(kPaper, kAll, Pass::backward).flops, 2 * (137438953472.0 + 67108864.0));
}

TEST(Cost, EstimatesMemoryFromTheShape) {
  const MemoryEstimate forward = estimate_memory(kPaper, false, 1), both = estimate_memory(kPaper, true, 1);
  EXPECT_EQ(forward.weights, (8.0 * 8388608 + 8 * 1024) * 4);
  EXPECT_EQ(forward.gradients, 0);
  EXPECT_EQ(both.gradients, both.weights);
  EXPECT_GT(both.total(), 2 * forward.weights);
  EXPECT_EQ(estimate_memory(kPaper, true, 1, 8192).total(), both.total());  // T·K: an even share on one rank
  EXPECT_GT(estimate_memory(kPaper, true, 1, 9000).activations, both.activations);
}

}  // namespace
}  // namespace moebench
