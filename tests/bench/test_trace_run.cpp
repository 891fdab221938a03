// SPDX-License-Identifier: Apache-2.0
// What is looked at and not timed, against a backend with a scripted clock.
#include <gtest/gtest.h>

#include <algorithm>

#include "bench/trace_run.h"
#include "fakes/fake_backend.h"

namespace moebench {
namespace {

/// Two ranks of which this is the first: the other's numbers are its own and `late` more.
class TwoRanks final : public World {
 public:
  explicit TwoRanks(std::vector<double> late) : late_(std::move(late)) {}
  std::string_view name() const override { return "fake"; }
  int rank() const override { return 0; }
  int size() const override { return 2; }
  int local_size() const override { return 2; }
  int local_rank() const override { return 0; }
  void barrier() override {}
  std::vector<double> gather(std::span<const double> mine) override {
    std::vector<double> all(mine.begin(), mine.end());
    for (std::size_t i = 0; i < mine.size(); ++i) all.push_back(mine[i] + late_.at(i));
    return all;
  }
  std::vector<std::string> gather_text(const std::string& mine) override { return {mine, mine}; }
  void wait_idle() override {}
  std::string broadcast(const std::string& text) override { return text; }
  std::unique_ptr<Comm> make_comm(Memory&, StreamView) override { return nullptr; }
  std::unique_ptr<World> first(int) override { return nullptr; }
  void abort(int) override { std::abort(); }

 private:
  std::vector<double> late_;
};

TEST(Timelines, KeepEachRanksClockAndAlignItWhereIterationsBegin) {
  const std::vector<Slice> mine{{.iteration = 0, .begin_us = 0, .end_us = 10},
                                {.iteration = 0, .pass = Pass::forward, .begin_us = 1, .end_us = 9},
                                {.iteration = 1, .begin_us = 20, .end_us = 30},
                                {.iteration = 2, .begin_us = 40, .end_us = 50}};
  // The other's clock is 100 ahead; it begins iteration 0 with rank 0, iteration 1 late by 7, and iteration 2
  // early by 1.
  TwoRanks world({100, 100, 100, 102, 107, 107, 99, 100});
  const Timeline timeline = timeline_of({}, world, mine);
  ASSERT_EQ(timeline.ranks.size(), 2u);
  const auto& [own, other] = std::pair(timeline.ranks[0], timeline.ranks[1]);
  EXPECT_EQ(own[1].begin_us, 1);
  EXPECT_EQ(other[0].begin_us, 0);
  EXPECT_EQ(other[1].begin_us, 1);
  EXPECT_EQ(other[1].end_us, 11);
  EXPECT_EQ(other[2].begin_us, 27);
  EXPECT_EQ(other[2].end_us, 37);
  EXPECT_EQ(other[3].begin_us, 39);

  TwoRanks other_first({95, 95, 100, 100, 100, 100, 100, 100});
  const Timeline moved = timeline_of({}, other_first, mine);
  EXPECT_EQ(moved.ranks[1][0].begin_us, 0);
  EXPECT_EQ(moved.ranks[0][0].begin_us, 5);
  EXPECT_EQ(moved.ranks[0][3].end_us, 55);
}

class Inspecting : public testing::Test {
 protected:
  std::unique_ptr<World> world_ = make_self_world();
  FakeBackend backend_;
  ThreadPool pool_{1};
  Case case_{.shape = {.tokens = 16, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 2}, .backend = "fake"};
};

TEST_F(Inspecting, TakesDownStagesInsidePassesInsideIterations) {
  backend_.script.us = [](int, int) { return 10.0; };
  case_.passes = PassSet::fwd;
  TraceRun trace_run(case_, {*world_, backend_, pool_});
  EXPECT_TRUE(trace_run.prepare({}).passed);
  const auto slices = trace_run.trace(2).ranks.at(0);
  ASSERT_EQ(slices.size(), 2 * 7u);  // the iteration, the pass, and five stages that need no other rank
  EXPECT_FALSE(slices[0].pass);
  EXPECT_EQ(slices[0].begin_us, 0);
  EXPECT_EQ(slices[0].end_us, 130);  // 14 timestamps
  EXPECT_EQ(slices[1].pass, Pass::forward);
  EXPECT_FALSE(slices[1].stage);
  EXPECT_EQ(slices[1].end_us, 120);
  EXPECT_EQ(slices[2].stage, Stage::gate);
  EXPECT_EQ(slices[2].begin_us, 20);
  EXPECT_EQ(slices[2].end_us, 30);
  EXPECT_EQ(slices[6].stage, Stage::combine);
  EXPECT_EQ(slices[7].iteration, 1);
  EXPECT_EQ(slices[7].begin_us, 140);
}

TEST_F(Inspecting, SeesAWrongResult) {
  backend_.script.spoil_output = true;
  TraceRun trace_run(case_, {*world_, backend_, pool_});
  EXPECT_FALSE(trace_run.prepare({}).passed);
}

TEST_F(Inspecting, OpensTheProfilersWindowAfterCheckAndWarmUp) {
  int combined = 0;
  backend_.script.before_combine = [&] { ++combined; };
  std::vector<std::pair<bool, int>> windows;
  backend_.script.profile = [&](bool open) { windows.emplace_back(open, combined); };
  TraceRun trace_run(case_, {*world_, backend_, pool_});
  trace_run.prepare({});
  const int before = combined;
  EXPECT_GT(before, 1);
  trace_run.profile(3);
  EXPECT_EQ(windows, (std::vector<std::pair<bool, int>>{{true, before}, {false, before + 3}}));
}

TEST_F(Inspecting, ShowsReplaysToAProfilerAndStagesInATimeline) {
  case_.graph = true;
  TraceRun trace_run(case_, {*world_, backend_, pool_});
  EXPECT_TRUE(trace_run.prepare({}).passed);
  EXPECT_GT(backend_.captures, 0);
  EXPECT_EQ(backend_.launches, 0);
  trace_run.profile(3);
  EXPECT_EQ(backend_.launches, 2 * 3) << "both passes";
  const auto slices = trace_run.trace(2).ranks.at(0);
  EXPECT_EQ(backend_.launches, 2 * 3);
  EXPECT_TRUE(std::ranges::any_of(slices, [](const Slice& slice) { return slice.stage == Stage::experts; }));
}

TEST_F(Inspecting, RefusesAGraphThatCannotBeReplayed) {
  case_.graph = true;
  backend_.script.engine_waits = true;
  EXPECT_THROW(TraceRun(case_, {*world_, backend_, pool_}), UsageError);
  case_.graph = false;
  EXPECT_NO_THROW(TraceRun(case_, {*world_, backend_, pool_}));
}

TEST_F(Inspecting, DisplacesTheCacheBeforeEveryIterationWhenFlushed) {
  case_.cache = CacheState::flushed;
  TraceRun trace_run(case_, {*world_, backend_, pool_});
  trace_run.prepare({});
  const std::size_t before = backend_.copied.size();
  trace_run.profile(3);
  EXPECT_EQ(backend_.copied.size(), before + 3);
}

}  // namespace
}  // namespace moebench
