// SPDX-License-Identifier: Apache-2.0
// The check before and after timing, as a sweep runs it.
#include <gtest/gtest.h>

#include "bench/sweep_fixture.h"

namespace moebench {
namespace {

class Checking : public Sweeping {};

TEST_F(Checking, SeesAWrongRowThatIsInNoSample) {
  Case wide = with_experts(4);
  wide.shape.tokens = 1000;
  sampling_ = {.iters = 5, .stages = false, .peaks = false};
  backend_.script.spoilt_token = 1;  // of 16 in the sample the first two are 0 and 66
  EXPECT_EQ(run({wide}).code, ExitCode::incorrect);
  const Record& record = kept_.records.at(0);
  EXPECT_EQ(record.reason.substr(0, 12), "y_rows error");
  EXPECT_NE(record.reason.find(" at token 1"), std::string::npos) << record.reason;
}

TEST_F(Checking, ChecksEveryInputSetAgainAfterTiming) {
  sampling_ = {.iters = 5, .recheck = true, .stages = false, .peaks = false};
  EXPECT_EQ(run({with_experts(4)}).code, ExitCode::ok);
  const CheckRecord& check = kept_.records.at(0).check;
  EXPECT_EQ(check.rechecked_sets, input_sets_needed(with_experts(4).shape, backend_.device().cache_bytes));
  EXPECT_EQ(check.recheck_items.size(), check.items.size());
}

TEST_F(Checking, GivesNoTimeToAResultThatGoesWrongWhileItIsTimed) {
  sampling_ = {.iters = 5, .recheck = true, .stages = false, .peaks = false};
  const int right = 1 + warmup() + 5;  // the check, and every iteration
  int runs = 0;
  backend_.script.before_combine = [&] { backend_.script.spoil_output = ++runs > right; };
  EXPECT_EQ(run({with_experts(4)}).code, ExitCode::incorrect);
  const Record& record = kept_.records.at(0);
  EXPECT_EQ(record.status, Status::incorrect);
  EXPECT_NE(record.reason.find(", after timing"), std::string::npos) << record.reason;
  EXPECT_FALSE(has_times(record));
  EXPECT_EQ(verdict_of(record), "incorrect");
}

TEST_F(Checking, CallsAPointUncheckedThatNothingCompared) {
  sampling_ = {.iters = 5, .check = CheckMode::none, .stages = false, .peaks = false};
  EXPECT_EQ(run({with_experts(4)}).code, ExitCode::ok);
  EXPECT_EQ(kept_.records.at(0).status, Status::ok);
  EXPECT_EQ(verdict_of(kept_.records[0]), "unchecked");
}

TEST_F(Checking, NamesThePhasesOfACase) {
  sampling_ = {.iters = 5, .recheck = true};
  run({with_experts(4)});
  EXPECT_EQ(kept_.phases, (std::vector<std::string>{"measuring peaks", "setting up", "checking", "warming up",
                                                    "timing stages", "checking again"}));
}

}  // namespace
}  // namespace moebench
