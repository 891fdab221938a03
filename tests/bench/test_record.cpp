// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/error.h"
#include "bench/record.h"

namespace moebench {
namespace {

Case some_case() {
  Case bench_case;
  bench_case.shape = {.tokens = 64, .hidden = 16, .ffn = 32, .experts = 4, .top_k = 2};
  return bench_case;
}

TEST(Words, OfStatusAndBoundAreReadAndNamed) {
  for (const auto status : {Status::ok, Status::incorrect, Status::failed, Status::skipped, Status::timed_out,
                            Status::interrupted})
    EXPECT_EQ(parse_status(name_of(status)), status);
  for (const auto bound : {Bound::compute, Bound::memory, Bound::link, Bound::latency})
    EXPECT_EQ(parse_bound(name_of(bound)), bound);
  EXPECT_THROW(parse_status("fine"), UsageError);
  EXPECT_THROW(parse_bound(""), UsageError);
}

TEST(LoadRange, IsThatOfTheStepsWithRows) {
  const auto step = [](double mean, double imbalance) {
    return StepRecord{.rows_per_expert = {.mean = mean, .imbalance = imbalance}};
  };
  const std::vector<StepRecord> steps{step(4, 0.5), step(4, 0), step(4, 1.5), step(0, 0)};
  EXPECT_DOUBLE_EQ(load_range(steps).least, 1);
  EXPECT_DOUBLE_EQ(load_range(steps).most, 2.5);
  EXPECT_EQ(load_range({}).most, 0) << "unknown";
  EXPECT_EQ(load_range(std::span(steps).last(1)).most, 0) << "no rows";
}

TEST(RecordId, DependsOnEverySettingButNotOnTheAxes) {
  const Case plain = some_case();
  Case seeded = plain, swept = plain;
  seeded.seed = 2;
  swept.axes = {{"experts", "4"}};
  EXPECT_EQ(id_of(plain).size(), 16u);
  EXPECT_NE(id_of(plain), id_of(seeded));
  EXPECT_EQ(id_of(plain), id_of(swept));
}

TEST(RecordId, IsThatOfReportsFromBeforeASettingWasAdded) {
  Case bench_case;  // a point of results/paper-gemm, from before `graph` and `cache`
  bench_case.subject = SubjectKind::linear;
  bench_case.shape = {.tokens = 1, .hidden = 1024, .ffn = 4096, .experts = 8, .top_k = 2};
  bench_case.backend = "cuda";
  bench_case.passes = PassSet::fwd;
  EXPECT_EQ(id_of(bench_case), "d88b83f780689354");
  Case replayed = bench_case, hot = bench_case;
  replayed.graph = true;
  hot.cache = CacheState::hot;
  EXPECT_NE(id_of(replayed), id_of(bench_case));
  EXPECT_NE(id_of(hot), id_of(bench_case));

  Case spread;  // a point of results/paper-scaling, from before `exchange`
  spread.shape = {.tokens = 2048, .hidden = 256, .ffn = 1024, .experts = 8, .top_k = 2, .ranks = 2, .ep = 2};
  spread.comm = "mpi";
  EXPECT_EQ(id_of(spread), "c6f1058a036c5e91");
  spread.exchange = Exchange::per_expert;
  EXPECT_NE(id_of(spread), "c6f1058a036c5e91");
}

TEST(HasTimes, IsFalseForWhatIsNotOkOrFailedItsCheck) {
  Record record{.bench_case = some_case()};
  EXPECT_FALSE(has_times(record)) << "nothing was sampled";
  record.time["total"].device.n = 3;
  EXPECT_FALSE(has_times(record)) << "a report without the median";
  record.time["total"].device.p50 = 12;
  EXPECT_TRUE(has_times(record));
  record.check.mode = "quick";
  EXPECT_FALSE(has_times(record));
  record.check.passed = true;
  EXPECT_TRUE(has_times(record));
  record.status = Status::interrupted;
  EXPECT_FALSE(has_times(record));
}

}  // namespace
}  // namespace moebench
