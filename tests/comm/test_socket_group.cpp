// SPDX-License-Identifier: Apache-2.0
// Ranks that do not meet as they should. Each rank is a thread of this process; tests/contract has those that
// do.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>

#include "base/error.h"
#include "base/text.h"
#include "comm/tcp/socket_group.h"

namespace moebench {
namespace {

constexpr double kTimeoutS = 0.5;

/// A place where rank 0 can listen, and its listener.
class Meeting {
 public:
  /// What rank `rank` of `size` says when it has met the others, or what it throws.
  std::future<std::string> join(int rank, int size, const Identity& identity = {}) {
    Rendezvous place{.host = "127.0.0.1", .port = port_};
    if (rank == 0) place.listener = dup(listener_.get());
    return std::async(std::launch::async, [=] {
      try {
        SocketGroup group(rank, size, place, kTimeoutS, identity);
        return cat("met ", group.gather(cat("r", rank), size, "text").size());
      } catch (const Error& error) {
        return cat(static_cast<int>(error.code()), ": ", error.what());
      }
    });
  }
  int port() const { return port_; }

 private:
  int port_ = 0;
  Socket listener_ = listen_locally(port_);
};

TEST(SocketGroup, JoinsRanksInAnyOrder) {
  Meeting meeting;
  auto two = meeting.join(2, 3), one = meeting.join(1, 3), zero = meeting.join(0, 3);
  for (auto* rank : {&zero, &one, &two}) EXPECT_EQ(rank->get(), "met 3");
}

TEST(SocketGroup, NamesTheRanksThatDoNotComeToEveryoneWhoDid) {
  Meeting meeting;
  auto zero = meeting.join(0, 4), two = meeting.join(2, 4);
  const std::string want = "124: rank 0 waited 0.5 s for a handshake from rank 1, 3";
  EXPECT_EQ(zero.get(), want);
  EXPECT_EQ(two.get(), want);
}

TEST(SocketGroup, RefusesRanksThatWereNotStartedAlike) {
  const Identity seven{.command = {{"--iters", "7"}}}, nine{.command = {{"--iters", "9"}}};
  Meeting meeting;
  auto zero = meeting.join(0, 3, seven), one = meeting.join(1, 3, seven), two = meeting.join(2, 3, nine);
  const std::string want =
      "2: --iters is '9' on rank 2 and '7' on rank 0; start all ranks alike, with one build";
  for (auto* rank : {&zero, &one, &two}) EXPECT_EQ(rank->get(), want);
}

TEST(SocketGroup, RefusesRanksThatDisagreeOnTheirNumber) {
  Meeting meeting;
  auto zero = meeting.join(0, 2), one = meeting.join(1, 3);
  const std::string want = "3: rank 1 of 3 came to a rendezvous of 2 ranks: all must be started alike";
  EXPECT_EQ(zero.get(), want);
  EXPECT_EQ(one.get(), want);
}

TEST(SocketGroup, RefusesTheSameRankTwice) {
  Meeting meeting;
  auto zero = meeting.join(0, 3), one = meeting.join(1, 3), other = meeting.join(1, 3);
  EXPECT_EQ(zero.get(),
            "3: a second rank 1 of 3 came to the rendezvous: every rank needs a number of its own");
}

TEST(SocketGroup, HangsUpOnStrangersAndGoesOn) {
  Meeting meeting;
  auto zero = meeting.join(0, 2);
  const Socket stranger = connect_to({.host = "127.0.0.1", .port = meeting.port()});
  const std::string request = "GET / HTTP/1.1\r\nHost: moebench\r\n\r\n";
  ASSERT_EQ(send(stranger.get(), request.data(), request.size(), 0), std::ssize(request));
  auto one = meeting.join(1, 2);
  EXPECT_EQ(zero.get(), "met 2");
  EXPECT_EQ(one.get(), "met 2");
}

TEST(SocketGroup, SaysThatThePortIsTaken) {
  const Meeting meeting;
  try {
    SocketGroup(0, 2, {.host = "127.0.0.1", .port = meeting.port()}, kTimeoutS);
    FAIL() << "listens at a port in use";
  } catch (const EnvironmentError& error) {
    EXPECT_EQ(
        std::string(error.what()),
        cat("rank 0 cannot listen at the rendezvous 127.0.0.1:", meeting.port(), ": Address already in use"));
  }
}

}  // namespace
}  // namespace moebench
