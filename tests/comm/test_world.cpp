// SPDX-License-Identifier: Apache-2.0
// Which world a word and a launcher get. MPI is never started in this process: each call that could start it
// runs in a child with an environment of its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "comm/world.h"

namespace moebench {
namespace {

using Environment = std::map<std::string, std::string>;

/// Exits with the code of what make_world throws, its text on stderr, or 0 with the world's name.
[[noreturn]] void make_and_exit(const WorldRequest& request, const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE"})
    unsetenv(name);
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  try {
    const auto world = make_world(request);
    std::cerr << world->name() << " of " << world->size();
  } catch (const Error& error) {
    std::cerr << error.what();
    std::_Exit(static_cast<int>(error.code()));
  }
  std::_Exit(0);
}

const Environment kTorchrun{{"RANK", "1"}, {"WORLD_SIZE", "4"}};
const Environment kMpirun{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}};
const Environment kSrun{{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_STEP_ID", "0"}};

TEST(MakeWorldDeathTest, WithoutALauncherAutoIsSelf) {
  EXPECT_EXIT(make_and_exit({.comm = "auto", .timeout_s = 1}, {}), testing::ExitedWithCode(0), "self of 1");
}

TEST(MakeWorldDeathTest, UnderALauncherOfOneRankAutoIsSelf) {
  EXPECT_EXIT(make_and_exit({.comm = "auto", .timeout_s = 1}, {{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}),
              testing::ExitedWithCode(0), "self of 1");
}

TEST(MakeWorldDeathTest, RefusesSelfUnderALauncherOfSeveral) {
  EXPECT_EXIT(make_and_exit({.comm = "self", .timeout_s = 1}, kMpirun), testing::ExitedWithCode(3),
              "mpirun started 4 ranks but --comm self is one rank");
}

TEST(MakeWorldDeathTest, RefusesAWordItDoesNotKnow) {
  EXPECT_EXIT(make_and_exit({.comm = "mpl", .timeout_s = 1}, {}), testing::ExitedWithCode(2),
              "unknown comm 'mpl'; did you mean 'mpi'");
}

TEST(MakeWorldDeathTest, RefusesAMalformedLauncher) {
  EXPECT_EXIT(make_and_exit({.comm = "auto", .timeout_s = 1}, {{"PMI_RANK", "0"}, {"PMI_SIZE", "x"}}),
              testing::ExitedWithCode(3), "PMI_SIZE='x'");
}

TEST(MakeWorldDeathTest, RefusesALauncherWithoutMpiForTheCpu) {
  EXPECT_EXIT(make_and_exit({.comm = "auto", .timeout_s = 1}, kTorchrun), testing::ExitedWithCode(3),
              "torchrun started 4 ranks, and ranks of the cpu backend exchange over MPI: start with mpirun");
}

#if MOEBENCH_HAVE_NCCL
TEST(MakeWorldDeathTest, RefusesNcclForTheCpu) {
  EXPECT_EXIT(make_and_exit({.comm = "nccl", .timeout_s = 1}, {}), testing::ExitedWithCode(2),
              "--comm nccl moves rows between GPUs: use --backend cuda");
}

TEST(MakeWorldDeathTest, RefusesARendezvousWithoutRanks) {
  EXPECT_EXIT(make_and_exit({.comm = "nccl", .rendezvous = "here:99", .gpu = true, .timeout_s = 1}, {}),
              testing::ExitedWithCode(2), "--rendezvous needs ranks: set RANK and WORLD_SIZE");
}

TEST(MakeWorldDeathTest, RefusesALauncherThatDoesNotSayWhereRanksMeet) {
  EXPECT_EXIT(make_and_exit({.comm = "nccl", .gpu = true, .timeout_s = 1}, kTorchrun),
              testing::ExitedWithCode(3),
              "torchrun started 4 ranks and does not say where they meet: give --rendezvous HOST:PORT");
}

TEST(MakeWorldDeathTest, NamesTheRankZeroThatDoesNotCome) {
  EXPECT_EXIT(
      make_and_exit({.comm = "nccl", .rendezvous = "127.0.0.1:1", .gpu = true, .timeout_s = 0.1}, kTorchrun),
      testing::ExitedWithCode(124), "rank 1 waited 0.1 s for a handshake from rank 0 at 127.0.0.1:1");
}
#else
TEST(MakeWorldDeathTest, SaysThatThisBuildHasNoNccl) {
  EXPECT_EXIT(make_and_exit({.comm = "nccl", .gpu = true, .timeout_s = 1}, {}), testing::ExitedWithCode(3),
              "this moebench was built without NCCL");
}
#endif

#if MOEBENCH_HAVE_MPI
TEST(MakeWorldDeathTest, RefusesALauncherThatMpiDoesNotSee) {
  EXPECT_EXIT(make_and_exit({.comm = "mpi", .timeout_s = 1}, kTorchrun), testing::ExitedWithCode(3),
              "torchrun started 4 ranks but MPI sees 1");
}

TEST(MakeWorldDeathTest, MpiWithoutALauncherIsAWorldOfOne) {
  EXPECT_EXIT(make_and_exit({.comm = "mpi", .timeout_s = 1}, {}), testing::ExitedWithCode(0), "mpi of 1");
}

TEST(MakeWorldDeathTest, RefusesSrunWithoutPmi) {
  EXPECT_EXIT(make_and_exit({.comm = "auto", .timeout_s = 1}, kSrun), testing::ExitedWithCode(3),
              "srun started 4 ranks without PMI");
}
#else
TEST(MakeWorldDeathTest, SaysThatThisBuildHasNoMpi) {
  EXPECT_EXIT(make_and_exit({.comm = "mpi", .timeout_s = 1}, {}), testing::ExitedWithCode(3),
              "this moebench was built without MPI");
  EXPECT_EXIT(make_and_exit({.comm = "auto", .timeout_s = 1}, kMpirun), testing::ExitedWithCode(3),
              "mpirun started 4 ranks but this moebench was built without MPI");
}
#endif

TEST(CommNames, HoldMpiOnlyIfItIsBuiltIn) {
  const auto names = comm_names();
  EXPECT_EQ(std::count(names.begin(), names.end(), "mpi"), MOEBENCH_HAVE_MPI);
  EXPECT_EQ(std::count(names.begin(), names.end(), "self"), 1);
}

}  // namespace
}  // namespace moebench
