// SPDX-License-Identifier: Apache-2.0
// What a made-up environment says about the launcher.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/error.h"
#include "comm/launch.h"

namespace moebench {
namespace {

using Environment = std::map<std::string, std::string>;

Lookup lookup(const Environment& environment) {
  return [&environment](const char* name) -> const char* {
    const auto entry = environment.find(name);
    return entry == environment.end() ? nullptr : entry->second.c_str();
  };
}

Launch detect(const Environment& environment) { return detect_launch(lookup(environment)); }

void expect_launch(const Environment& environment, const std::string& launcher, int rank, int size) {
  const Launch launch = detect(environment);
  EXPECT_EQ(launch.launcher, launcher);
  EXPECT_EQ(launch.rank, rank);
  EXPECT_EQ(launch.size, size);
}

void expect_refused(const Environment& environment, const std::string& part) {
  try {
    detect(environment);
    FAIL() << "accepted";
  } catch (const EnvironmentError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Launch, WithoutALauncherIsOneRank) { expect_launch({}, "", 0, 1); }

TEST(Launch, ReadsEachLauncher) {
  expect_launch({{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}}, "mpirun", 3, 4);
  expect_launch({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}, "mpirun", 0, 2);
  expect_launch({{"SLURM_PROCID", "7"}, {"SLURM_STEP_NUM_TASKS", "8"}}, "srun", 7, 8);
  expect_launch({{"RANK", "1"}, {"WORLD_SIZE", "2"}}, "torchrun", 1, 2);
  expect_launch({{kRankVariable, "1"}, {kSizeVariable, "2"}}, "moebench", 1, 2);
}

TEST(Launch, TrustsMpirunOverTheSlurmStepItRunsIn) {
  expect_launch({{"OMPI_COMM_WORLD_RANK", "5"},
                 {"OMPI_COMM_WORLD_SIZE", "8"},
                 {"SLURM_PROCID", "0"},
                 {"SLURM_STEP_NUM_TASKS", "2"}},
                "mpirun", 5, 8);
}

TEST(Launch, DoesNotTakeASlurmBatchScriptForARank) {
  expect_launch({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "17"}}, "", 0, 1);
}

TEST(Launch, DoesNotTakeHalfOfACommonNameForALauncher) {
  expect_launch({{"RANK", "general"}}, "", 0, 1);
  expect_launch({{"WORLD_SIZE", "4"}}, "", 0, 1);
}

TEST(Launch, RefusesHalfOfOpenMpi) {
  expect_refused({{"OMPI_COMM_WORLD_SIZE", "4"}}, "OMPI_COMM_WORLD_SIZE but not OMPI_COMM_WORLD_RANK");
  expect_refused({{"OMPI_COMM_WORLD_RANK", "0"}}, "OMPI_COMM_WORLD_RANK but not OMPI_COMM_WORLD_SIZE");
}

TEST(Launch, RefusesWhatIsNotANumberOfRanks) {
  for (const char* size : {"", "four", "0", "-4", "4.0", "4 ", "99999999999999999999", "2147483648"})
    expect_refused({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", size}}, "OMPI_COMM_WORLD_SIZE='");
  for (const char* rank : {"", "zero", "-1"}) expect_refused({{"RANK", rank}, {"WORLD_SIZE", "2"}}, "RANK='");
}

TEST(Launch, RefusesARankThatIsNotBelowTheSize) {
  expect_refused({{"SLURM_PROCID", "4"}, {"SLURM_STEP_NUM_TASKS", "4"}}, "SLURM_PROCID=4");
}

TEST(Launch, KnowsWhetherSrunOffersPmi) {
  const Environment bare{{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}};
  EXPECT_FALSE(offers_pmi(lookup(bare)));
  for (const char* name : {"PMIX_RANK", "PMIX_NAMESPACE", "PMI_RANK", "PMI_FD"}) {
    const Environment with{{name, "0"}};
    EXPECT_TRUE(offers_pmi(lookup(with))) << name;
  }
}

void expect_place(const Environment& environment, const std::string& host, int port) {
  const auto place = find_rendezvous(detect(environment), lookup(environment));
  ASSERT_TRUE(place);
  EXPECT_EQ(place->host, host);
  EXPECT_EQ(place->port, port);
}

TEST(Rendezvous, IsWhereTorchrunSays) {
  Environment environment{
      {"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "node7"}, {"MASTER_PORT", "29500"}};
  expect_place(environment, "node7", 29500);
  environment["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  expect_place(environment, "node7", 29501);
  environment.erase("MASTER_ADDR");
  EXPECT_FALSE(find_rendezvous(detect(environment), lookup(environment)));
}

TEST(Rendezvous, IsOnTheFirstNodeOfAStep) {
  Environment environment{
      {"SLURM_PROCID", "7"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_JOB_ID", "3"}, {"SLURM_STEP_ID", "2"}};
  for (const auto& [list, host] : Environment{{"n1", "n1"},
                                              {"n1,n2", "n1"},
                                              {"gpu[003-005,9]", "gpu003"},
                                              {"gpu[7,9],n2", "gpu7"},
                                              {"n3,gpu[7,9]", "n3"}}) {
    environment["SLURM_STEP_NODELIST"] = list;
    expect_place(environment, host, 15000 + 3 * 64 + 2);
  }
}

TEST(Rendezvous, RefusesAPortThatIsNone) {
  for (const char* port : {"", "0", "65536", "http"}) {
    const Environment environment{
        {"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", port}};
    EXPECT_THROW(find_rendezvous(detect(environment), lookup(environment)), EnvironmentError) << port;
  }
}

TEST(Rendezvous, IsReadFromHostAndPort) {
  EXPECT_EQ(parse_rendezvous("node1:29500").host, "node1");
  EXPECT_EQ(parse_rendezvous("node1:29500").port, 29500);
  EXPECT_EQ(parse_rendezvous("[fe80::1]:7").host, "fe80::1");
  for (const char* wrong : {"", "node1", ":7", "node1:", "node1:0", "node1:65536", "node1:x"})
    EXPECT_THROW(parse_rendezvous(wrong), UsageError) << wrong;
}

}  // namespace
}  // namespace moebench
