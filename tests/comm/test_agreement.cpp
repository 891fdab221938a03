// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "comm/agreement.h"

namespace moebench {
namespace {

const Identity kFirst{.build = "moebench 0.1.0 (commit a)",
                      .command = {{"command", "run"}, {"--iters", "7"}},
                      .environment = {{"MOEBENCH_SEED", "3"}}};

std::string said_of(const Identity& other) {
  return why_not_alike(kFirst, 2, greeting_of(other), packed(other));
}

TEST(Agreement, HasNothingToSayOfRanksThatWereStartedAlike) { EXPECT_EQ(said_of(Identity(kFirst)), ""); }

TEST(Agreement, NamesTheRankAndWhatIsDifferent) {
  const std::string advice = "; start all ranks alike, with one build";
  Identity other = kFirst;
  other.build = "moebench 0.1.0 (commit b)";
  EXPECT_EQ(said_of(other),
            "rank 2 is moebench 0.1.0 (commit b) and rank 0 is moebench 0.1.0 (commit a)" + advice);
  other = kFirst;
  other.command[1].second = "9";
  EXPECT_EQ(said_of(other), "--iters is '9' on rank 2 and '7' on rank 0" + advice);
  other.command.pop_back();
  EXPECT_EQ(said_of(other), "--iters is not given on rank 2 and '7' on rank 0" + advice);
  other = kFirst;
  other.command.emplace_back("--graph", "on");
  EXPECT_EQ(said_of(other), "--graph is 'on' on rank 2 and not given on rank 0" + advice);
  other = kFirst;
  other.environment.clear();
  EXPECT_EQ(said_of(other), "MOEBENCH_SEED is not given on rank 2 and '3' on rank 0" + advice);
}

TEST(Agreement, SaysThatARankSpeaksAnotherProtocolWithoutReadingWhatItSays) {
  Greeting greeting = greeting_of(kFirst);
  greeting.protocol = 2;
  EXPECT_NE(why_not_alike(kFirst, 1, greeting, "gibberish").find("rank 1 is of another build"),
            std::string::npos);
  greeting = greeting_of(kFirst);
  greeting.magic[0] = 'x';
  EXPECT_NE(why_not_alike(kFirst, 1, greeting, "").find("another protocol"), std::string::npos);
}

TEST(Agreement, GreetsWithSixtyFourBytesThatBeginWithItsName) {
  const Greeting greeting = greeting_of(kFirst);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(&greeting), 8), "moebench");
  EXPECT_EQ(sizeof greeting, 64u);
}

TEST(Agreement, SurvivesTextThatIsCutOff) {
  const std::string whole = packed(kFirst);
  Identity other = kFirst;
  other.command[1].second = "9";
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_NE(why_not_alike(kFirst, 1, greeting_of(other), whole.substr(0, length)), "") << length;
}

}  // namespace
}  // namespace moebench
