// SPDX-License-Identifier: Apache-2.0
// Which world a word and a launcher get. MPI is never started in this process: each call that could start it
// runs in a child with an environment of its own.
#include "comm/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "base/error.h"

namespace moebench {
namespace {

using Environment = std::map<std::string, std::string>;

/// Exits with the code of what make_world throws, its text on stderr, or 0 with the world's name.
[[noreturn]] void make_and_exit(const std::string& word, const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE"})
    unsetenv(name);
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  try {
    const auto world = make_world(word, 1);
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
  EXPECT_EXIT(make_and_exit("auto", {}), testing::ExitedWithCode(0), "self of 1");
}

TEST(MakeWorldDeathTest, UnderALauncherOfOneRankAutoIsSelf) {
  EXPECT_EXIT(make_and_exit("auto", {{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}), testing::ExitedWithCode(0),
              "self of 1");
}

TEST(MakeWorldDeathTest, RefusesSelfUnderALauncherOfSeveral) {
  EXPECT_EXIT(make_and_exit("self", kMpirun), testing::ExitedWithCode(3),
              "mpirun started 4 ranks but --comm self is one rank");
}

TEST(MakeWorldDeathTest, RefusesAWordItDoesNotKnow) {
  EXPECT_EXIT(make_and_exit("mpl", {}), testing::ExitedWithCode(2), "unknown comm 'mpl'; did you mean 'mpi'");
}

TEST(MakeWorldDeathTest, RefusesAMalformedLauncher) {
  EXPECT_EXIT(make_and_exit("auto", {{"PMI_RANK", "0"}, {"PMI_SIZE", "x"}}), testing::ExitedWithCode(3),
              "PMI_SIZE='x'");
}

#if MOEBENCH_HAVE_MPI
TEST(MakeWorldDeathTest, RefusesALauncherThatMpiDoesNotSee) {
  EXPECT_EXIT(make_and_exit("auto", kTorchrun), testing::ExitedWithCode(3),
              "torchrun started 4 ranks but MPI sees 1");
}

TEST(MakeWorldDeathTest, MpiWithoutALauncherIsAWorldOfOne) {
  EXPECT_EXIT(make_and_exit("mpi", {}), testing::ExitedWithCode(0), "mpi of 1");
}

TEST(MakeWorldDeathTest, RefusesSrunWithoutPmi) {
  EXPECT_EXIT(make_and_exit("auto", kSrun), testing::ExitedWithCode(3), "srun started 4 ranks without PMI");
}
#else
TEST(MakeWorldDeathTest, SaysThatThisBuildHasNoMpi) {
  EXPECT_EXIT(make_and_exit("mpi", {}), testing::ExitedWithCode(3), "this moebench was built without MPI");
  EXPECT_EXIT(make_and_exit("auto", kMpirun), testing::ExitedWithCode(3),
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
