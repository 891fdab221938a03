// SPDX-License-Identifier: Apache-2.0
// The runner against a backend with a scripted clock: what is measured is known beforehand.
#include <gtest/gtest.h>

#include <csignal>

#include "bench/sweep_fixture.h"

namespace moebench {
namespace {

class Running : public Sweeping {
 protected:
  Running() { sampling_.iters = 20; }
};

TEST_F(Running, EndsTheSweepWhenTheDeviceIsLost) {
  for (const bool sticky : {false, true}) {
    kept_.records.clear();
    int left = 5;
    backend_.script.before_combine = [&] {
      if (left-- == 1) throw DeviceError("an illegal address", sticky);
    };
    const RunOutcome outcome = run({with_experts(4), with_experts(8)});
    ASSERT_EQ(kept_.records.size(), sticky ? 1u : 2u) << "later cases are not tried on a lost device";
    EXPECT_EQ(kept_.records[0].status, Status::failed);
    EXPECT_EQ(kept_.records[0].reason, "an illegal address");
    EXPECT_EQ(outcome.code, sticky ? ExitCode::environment : ExitCode::partial);
    EXPECT_EQ(outcome.message, sticky ? "an illegal address; the device is lost, so the sweep ends" : "");
    EXPECT_FALSE(outcome.ranks_lost);
  }
}

TEST_F(Running, NamesTheRankThatDiedInsteadOfTheSignalThatFollowed) {
  kept_.lost = "rank 1 died (signal 9)";
  backend_.script.before_combine = [] { throw Interrupted("interrupted by SIGTERM"); };
  const RunOutcome outcome = run({with_experts(4), with_experts(8)});
  ASSERT_EQ(kept_.records.size(), 1u);
  EXPECT_EQ(kept_.records[0].status, Status::failed);
  EXPECT_EQ(kept_.records[0].reason, "rank 1 died (signal 9)");
  EXPECT_EQ(outcome.code, ExitCode::communicator);
  EXPECT_EQ(outcome.message, "rank 1 died (signal 9)");
}

TEST_F(Running, ReportsTheMedianOfTheSamplesAfterWarmup) {
  // Iterations before the samples take 9 ms, then 100 … 119 us forward and twice that backward.
  const int first = warmup();
  int base = -1;
  backend_.script.us = [&](int iteration, int mark) {
    if (base < 0) base = 0;
    return iteration < first ? 9000.0 : (100.0 + iteration - first) * (mark + 1);
  };
  sampling_.stages = false;
  EXPECT_EQ(run({with_experts(4)}).code, ExitCode::ok);
  const Record& record = kept_.records.at(0);
  EXPECT_EQ(record.status, Status::ok);
  EXPECT_TRUE(record.check.passed);
  EXPECT_EQ(record.stop.samples, 20);
  EXPECT_EQ(record.stop.warmup, first);
  EXPECT_DOUBLE_EQ(record.time.at("forward").device.p50, 109.5);
  EXPECT_DOUBLE_EQ(record.time.at("backward").device.p50, 219);
  EXPECT_DOUBLE_EQ(record.time.at("total").device.p50, 328.5);
  EXPECT_DOUBLE_EQ(record.time.at("total").device.max, 357);
  EXPECT_DOUBLE_EQ(record.tokens_per_s, 16 / 328.5e-6);
  EXPECT_DOUBLE_EQ(record.time.at("forward").flops, 4.0 * 32 * 8 * 8 + 2 * 16 * 8 * 4);
  EXPECT_EQ(record.memory.timed_allocations, 0);
}

TEST_F(Running, GivesNoTimeToAWrongResult) {
  backend_.script.spoil_output = true;
  EXPECT_EQ(run({with_experts(4)}).code, ExitCode::incorrect);
  const Record& record = kept_.records.at(0);
  EXPECT_EQ(record.status, Status::incorrect);
  EXPECT_TRUE(record.time.empty());
  EXPECT_FALSE(has_times(record));
  EXPECT_NE(record.reason.find("y error"), std::string::npos) << record.reason;
}

TEST_F(Running, GoesOnAfterACaseThatFails) {
  int left = 1;
  backend_.script.before_combine = [&] {
    if (left-- == 1) throw DeviceError("injected device error");
  };
  EXPECT_EQ(run({with_experts(4), with_experts(8)}).code, ExitCode::partial);
  ASSERT_EQ(kept_.records.size(), 2u);
  EXPECT_EQ(kept_.records[0].status, Status::failed);
  EXPECT_EQ(kept_.records[0].reason, "injected device error");
  EXPECT_EQ(kept_.records[1].status, Status::ok);
}

TEST_F(Running, SkipsWhatDoesNotFitBeforeAllocatingIt) {
  backend_.script.available_bytes = 5000;
  const auto allocations = backend_.memory().allocations();
  EXPECT_EQ(run({with_experts(4)}).code, ExitCode::partial);
  EXPECT_EQ(kept_.records[0].status, Status::skipped);
  EXPECT_NE(kept_.records[0].reason.find(" on each rank, 5.0 kB are available"), std::string::npos)
      << kept_.records[0].reason;
  EXPECT_EQ(backend_.memory().allocations(), allocations);
}

TEST_F(Running, BlamesNoCaseForAnObserverThatFails) {
  kept_.full = true;
  const RunOutcome outcome = run({with_experts(4), with_experts(8)});
  EXPECT_EQ(outcome.code, ExitCode::environment);
  EXPECT_EQ(outcome.message, "disk full");
  ASSERT_EQ(kept_.records.size(), 1u);  // once, as it was measured; and the sweep ends
  EXPECT_EQ(kept_.records[0].status, Status::ok);
}

TEST_F(Running, SkipsWhatNeedsMoreRanks) {
  Case wide = with_experts(4);
  wide.shape.ranks = wide.shape.ep = 2;
  EXPECT_EQ(run({wide, with_experts(4)}).code, ExitCode::partial);
  EXPECT_EQ(kept_.records[0].status, Status::skipped);
  EXPECT_EQ(kept_.records[0].reason, "needs 2 ranks, but 1 runs; start with mpirun -np 2");
  EXPECT_EQ(kept_.records[1].status, Status::ok);
}

TEST_F(Running, RefusesImpossibleCasesBeforeTheFirst) {
  Case typo = with_experts(4);
  typo.engine = "lop";
  EXPECT_THROW(run({with_experts(4), typo}), UsageError);
  Case half = with_experts(4);
  half.shape.dtype = DType::bf16;
  EXPECT_THROW(run({with_experts(4), half}), UsageError);
  Case linear = with_experts(4);
  linear.subject = SubjectKind::linear;
  EXPECT_THROW(run({with_experts(4), linear}), UsageError);
  EXPECT_TRUE(kept_.events.empty());
}

TEST_F(Running, RefusesAnEngineThatCannotRunTheShapeBeforeThePeaksAreMeasured) {
  backend_.script.engine_refuses = "engine loop is out of order";
  try {
    run({with_experts(4)});
    ADD_FAILURE() << "nothing was refused";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "engine loop is out of order");
  }
  EXPECT_TRUE(kept_.events.empty());
  EXPECT_TRUE(backend_.copied.empty()) << "the copy ceiling was measured";
}

TEST_F(Running, TakesTurnsWhenInterleaved) {
  sampling_ = {.iters = 0,
               .min_time_s = 0,
               .max_time_s = 0.05,
               .noise_pct = 1e-9,
               .stages = false,
               .interleave = true};
  backend_.script.us = [](int iteration, int) { return 100.0 + iteration % 7; };
  EXPECT_EQ(run({with_experts(4), with_experts(8)}).code, ExitCode::ok);
  ASSERT_GE(kept_.events.size(), 6u);
  EXPECT_EQ(kept_.events[0], "begin 4");
  EXPECT_EQ(kept_.events[1], "begin 8");
  EXPECT_EQ(kept_.events[2], "sampled");
  EXPECT_EQ(kept_.records.size(), 2u);
}

TEST_F(Running, StopsAtTheNoiseTargetAndNamesWhatWasNotMet) {
  sampling_ = {.min_time_s = 0, .max_time_s = 0.02, .stages = false};
  EXPECT_EQ(run({with_experts(4)}).code, ExitCode::ok);
  EXPECT_EQ(kept_.records[0].stop.reason, "noise");
  EXPECT_EQ(kept_.records[0].stop.unmet, "");
  backend_.script.us = [](int iteration, int) { return iteration % 2 ? 100.0 : 300.0; };
  run({with_experts(4)});
  EXPECT_EQ(kept_.records[1].stop.reason, "time");
  EXPECT_NE(kept_.records[1].stop.unmet.find("noise"), std::string::npos) << kept_.records[1].stop.unmet;
}

TEST_F(Running, ChecksWithoutTimingWhenAsked) {
  sampling_.check_only = true;
  sampling_.check = CheckMode::full;
  EXPECT_EQ(run({with_experts(4)}).code, ExitCode::ok);
  EXPECT_TRUE(kept_.records[0].check.passed);
  EXPECT_FALSE(has_times(kept_.records[0]));
}

TEST_F(Running, MeasuresEveryStageOfBothPasses) {
  backend_.script.us = [](int, int mark) { return mark % 2 == 0 ? 10.0 : 1000.0; };
  Case step = with_experts(4);
  step.passes = PassSet::step;
  run({step});
  std::vector<std::string> seen;
  for (const StageRecord& stage : kept_.records.at(0).stages)
    seen.push_back(std::string(name_of(stage.pass)) + " " + std::string(name_of(stage.stage)));
  EXPECT_EQ(seen, (std::vector<std::string>{"forward gate", "forward plan", "forward pack", "forward sizes",
                                            "forward dispatch", "forward experts", "forward collect",
                                            "forward combine", "backward combine", "backward collect",
                                            "backward experts", "backward dispatch", "backward pack",
                                            "backward gate", "sync sync"}));
}

TEST_F(Running, MeasuresTheLinearAndDenseSubjects) {
  Case linear = with_experts(4);
  linear.subject = SubjectKind::linear;
  linear.passes = PassSet::fwd;
  Case dense = with_experts(4);
  dense.subject = SubjectKind::dense;
  const auto cpu = make_cpu_backend(1);
  run_cases(std::vector<Case>{linear, dense}, sampling_, {*world_, *cpu, pool_}, kept_);
  ASSERT_EQ(kept_.records.size(), 2u);
  for (const Record& record : kept_.records) EXPECT_EQ(record.status, Status::ok) << record.reason;
  EXPECT_EQ(kept_.records[0].time.at("total").flops, 2.0 * 16 * 8 * 8);
  EXPECT_EQ(kept_.records[1].time.at("forward").flops, 4.0 * 16 * 8 * 16);  // one network twice as wide
}

TEST_F(Running, ReplaysOneGraphForEachPassOfEachInputSet) {
  Case replayed = with_experts(4);
  replayed.graph = true;
  const int sets = input_sets_needed(replayed.shape, backend_.device().cache_bytes);
  sampling_.stages = false;
  EXPECT_EQ(run({replayed}).code, ExitCode::ok);
  const Record& record = kept_.records.at(0);
  EXPECT_EQ(record.status, Status::ok) << record.reason;
  EXPECT_EQ(backend_.captures, 2 * sets);
  EXPECT_EQ(backend_.launches, 2 * (2 + record.stop.warmup + record.stop.samples))
      << "two of them to compare with";
  EXPECT_EQ(record.check.items.back().name, "graph");
  EXPECT_EQ(record.check.items.back().error, 0) << "the same work on the same numbers";
  EXPECT_GT(record.first_iteration_us, 0);
}

TEST_F(Running, GivesNoTimeToAReplayThatDoesNotWriteItsResult) {
  Case replayed = with_experts(4);
  replayed.graph = true;
  backend_.script.lose_launches = true;
  EXPECT_EQ(run({replayed}).code, ExitCode::incorrect);
  EXPECT_EQ(kept_.records.at(0).reason, "graph error nan exceeds 1e-05");
  EXPECT_FALSE(has_times(kept_.records.at(0)));
}

TEST_F(Running, SkipsAReplayOfAnEngineThatWaitsAndNamesIt) {
  Case replayed = with_experts(4);
  replayed.graph = true;
  backend_.script.engine_waits = true;
  EXPECT_EQ(run({replayed, with_experts(4)}).code, ExitCode::partial);
  EXPECT_EQ(kept_.records.at(0).status, Status::skipped);
  EXPECT_EQ(kept_.records.at(0).reason, "cannot be replayed as a graph: engine loop waits for the device");
  EXPECT_EQ(kept_.records.at(1).status, Status::ok);
  EXPECT_EQ(backend_.captures, 0);
}

TEST_F(Running, RefusesToReplayOnABackendWithoutGraphs) {
  Case replayed = with_experts(4);
  replayed.graph = true;
  backend_.script.has_graphs = false;
  EXPECT_THROW(run({with_experts(4), replayed}), UsageError);
  EXPECT_TRUE(kept_.events.empty());
}

TEST_F(Running, ComparesReplaysAlsoWithoutTiming) {
  sampling_.check_only = true;
  Case replayed = with_experts(4);
  replayed.graph = true;
  run({replayed});
  EXPECT_EQ(kept_.records.at(0).check.items.back().name, "graph");
  EXPECT_EQ(backend_.launches, 4) << "both passes of the first and the last input set";
}

TEST_F(Running, WatchesTheStagesOfAReplayCallByCall) {
  Case replayed = with_experts(4);
  replayed.graph = true;
  EXPECT_EQ(run({replayed}).code, ExitCode::ok);
  const Record& record = kept_.records.at(0);
  EXPECT_EQ(backend_.launches, 2 * (2 + record.stop.warmup + record.stop.samples)) << "none for the stages";
  EXPECT_FALSE(record.stages.empty());
}

TEST_F(Running, UsesOneInputAgainAndAgainWhenHot) {
  sampling_ = {.warmup = 1, .iters = 7, .stages = false};
  Case hot = with_experts(4);
  hot.cache = CacheState::hot;
  run({with_experts(4), hot});
  EXPECT_EQ(kept_.records.at(0).stop.warmup, warmup()) << "each input set once";
  EXPECT_GT(warmup(), 1);
  EXPECT_EQ(kept_.records.at(1).stop.warmup, 1);
  EXPECT_LT(kept_.records[1].memory.inputs_bytes, kept_.records[0].memory.inputs_bytes);
}

TEST_F(Running, DisplacesTheCacheBeforeEveryIterationWhenFlushed) {
  sampling_ = {.iters = 7, .stages = false, .peaks = false};
  Case flushed = with_experts(4);
  flushed.cache = CacheState::flushed;
  run({with_experts(4)});
  EXPECT_TRUE(backend_.copied.empty());
  run({flushed});
  const Record& record = kept_.records.at(1);
  EXPECT_EQ(std::ssize(backend_.copied), record.stop.warmup + record.stop.samples);
  EXPECT_EQ(record.memory.workspace_bytes - kept_.records[0].memory.workspace_bytes,
            2.0 * static_cast<double>(backend_.device().cache_bytes));
  EXPECT_EQ(record.memory.timed_allocations, 0);
}

TEST_F(Running, FlagsSamplesTakenWhileClocksWereThrottled) {
  backend_.instruments = std::make_unique<FakeSensors>();
  sampling_.stages = false;
  run({with_experts(4)});
  EXPECT_EQ(kept_.records.at(0).device.throttled_samples, 0);
  EXPECT_EQ(kept_.records[0].device.sm_max_mhz, 1500);
  EXPECT_TRUE(kept_.records[0].warnings.empty());
  backend_.instruments->say = [] { return SensorReading{.limits = bit_of(ThrottleReason::power_cap)}; };
  run({with_experts(4)});
  const Record& record = kept_.records.at(1);
  EXPECT_EQ(record.device.throttled_samples, record.stop.samples);
  EXPECT_EQ(record.device.throttled_at.size(), 20u);
  EXPECT_EQ(record.warnings,
            std::vector<std::string>{"the device lowered its clocks while samples were taken: power cap"});
}

TEST_F(Running, SplitsThePeakOfMemoryByWhatItIsFor) {
  sampling_ = {.iters = 5, .check = CheckMode::none, .stages = false, .peaks = false};
  run({with_experts(4)});
  const MemoryRecord& memory = kept_.records.at(0).memory;
  const MemoryEstimate& bench_case = memory.at_peak;
  const double parameters = 4 * (8 * 8 + 8 * 8) + 8 * 4;  // four experts' two matrices, and the gate's
  EXPECT_EQ(bench_case.weights, 4 * parameters);
  EXPECT_EQ(bench_case.gradients, 4 * parameters);
  EXPECT_EQ(bench_case.inputs, 4.0 * 16 * 8 * 2 * (warmup() + 1)) << "x and dy of each set, y and dx";
  EXPECT_GT(bench_case.activations, 4.0 * 32 * 8 * 4);
  EXPECT_EQ(bench_case.total(), memory.peak_bytes);
  EXPECT_EQ(memory.weights_bytes, bench_case.weights) << "the estimate";
  EXPECT_EQ(kept_.records[0].math, "fake fp32");
}

TEST_F(Running, WarnsWhereTheHostIsSlowerThanTheDevice) {
  backend_.script.has_queue = true;
  sampling_.stages = false;
  backend_.script.us = [](int, int) { return 1e6; };
  run({with_experts(4)});
  EXPECT_GT(kept_.records.at(0).queue_us, 0);
  EXPECT_TRUE(kept_.records[0].warnings.empty());
  backend_.script.us = [](int, int) { return 1e-3; };
  run({with_experts(4)});
  ASSERT_EQ(kept_.records.at(1).warnings.size(), 1u);
  EXPECT_NE(kept_.records[1].warnings[0].find("launch bound"), std::string::npos);
  backend_.script.engine_waits = true;  // then the host's time holds the device's
  run({with_experts(4)});
  EXPECT_EQ(kept_.records.at(2).queue_us, 0);
  EXPECT_TRUE(kept_.records[2].warnings.empty());
}

TEST_F(Running, SaysWhyNoSensorWasRead) {
  sampling_.stages = false;
  run({with_experts(4)});
  EXPECT_EQ(kept_.records.at(0).device.unknown, "the fake backend has no sensors");
  backend_.instruments = std::make_unique<FakeSensors>();
  sampling_.sensors = false;
  run({with_experts(4)});
  EXPECT_EQ(kept_.records.at(1).device.unknown, "not read: --no-sensors");
  EXPECT_EQ(backend_.instruments->reads, 0);
}

}  // namespace
}  // namespace moebench
