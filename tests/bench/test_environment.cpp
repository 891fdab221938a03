// SPDX-License-Identifier: Apache-2.0
// The environment is read from planted files, so that the test does not depend on the machine.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/text.h"
#include "bench/environment.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;

/// A machine's /proc, /sys and /etc, removed at the end.
class PlantedRoot : public testing::Test {
 protected:
  PlantedRoot() : root_(fs::temp_directory_path() / cat("moebench-root-", getpid())) {
    fs::create_directories(root_);
  }
  ~PlantedRoot() override { fs::remove_all(root_); }

  void plant(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }
  void plant_two_sockets() {
    plant("proc/cpuinfo",
          "processor\t: 0\nmodel name\t: Planted CPU 9000\nflags\t\t: fpu sse hypervisor avx");
    plant("proc/meminfo", "MemTotal:       1024 kB\nMemFree: 1 kB");
    plant("etc/os-release", "NAME=\"Planted\"\nPRETTY_NAME=\"Planted OS 1\"");
    for (int thread = 0; thread < 8; ++thread) {
      const auto cpu = cat("sys/devices/system/cpu/cpu", thread);
      plant(cpu + "/topology/physical_package_id", cat(thread / 4));
      plant(cpu + "/topology/core_id", cat(thread % 2));  // two threads a core, two cores a socket
    }
    plant("sys/devices/system/cpu/cpu0/cache/index0/level", "3");
    plant("sys/devices/system/cpu/cpu0/cache/index0/type", "Unified");
    plant("sys/devices/system/cpu/cpu0/cache/index0/size", "32768K");
    plant("sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list", "0-2,4");
    plant("sys/devices/system/node/node0/x", "");
    plant("sys/devices/system/node/node1/x", "");
  }

  fs::path root_;
};

TEST_F(PlantedRoot, TellsTheMachine) {
  plant_two_sockets();
  const auto environment = read_environment(root_);
  const auto& cpu = environment.cpu;
  EXPECT_EQ(environment.os, "Planted OS 1");
  EXPECT_EQ(cpu.model, "Planted CPU 9000");
  EXPECT_EQ(cpu.sockets, 2);
  EXPECT_EQ(cpu.cores, 4);
  EXPECT_EQ(cpu.threads, 8);
  EXPECT_EQ(cpu.numa_nodes, 2);
  EXPECT_EQ(cpu.memory_bytes, 1024 * 1024);
  EXPECT_TRUE(cpu.virtual_machine);
  ASSERT_EQ(cpu.caches.size(), 1u);
  EXPECT_EQ(cpu.caches[0].bytes, 32768.0 * 1024);
  EXPECT_EQ(cpu.caches[0].shared_by, 4);
  EXPECT_FALSE(environment.host.empty());
}

TEST_F(PlantedRoot, OfNothingReadableIsEmptyAndNoError) {
  const auto environment = read_environment(root_ / "nowhere");
  EXPECT_EQ(environment.cpu.threads, 0);
  EXPECT_EQ(environment.os, "");
  EXPECT_EQ(environment.container, "");
}

TEST_F(PlantedRoot, ReadsTheQuotaOfBothKindsOfControlGroup) {
  EXPECT_EQ(read_environment(root_).cpu.quota_threads, 0);
  plant("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1");
  plant("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(read_environment(root_).cpu.quota_threads, 0);
  plant("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000");
  EXPECT_EQ(read_environment(root_).cpu.quota_threads, 2.5);
  plant("sys/fs/cgroup/cpu.max", "max 100000");
  EXPECT_EQ(read_environment(root_).cpu.quota_threads, 0);
  plant("sys/fs/cgroup/cpu.max", "150000 100000");
  EXPECT_EQ(read_environment(root_).cpu.quota_threads, 1.5);
}

TEST_F(PlantedRoot, RecognisesContainers) {
  plant("proc/1/cgroup", "0::/kubepods/pod1");
  EXPECT_EQ(read_environment(root_).container, "kubernetes");
  plant("proc/1/cgroup", "0::/");
  plant(".dockerenv", "");
  EXPECT_EQ(read_environment(root_).container, "docker");
}

TEST(Doubts, NameWhatCouldDisturb) {
  const ToolFacts release{.build_type = "Release"};
  Environment environment{.cpu = {.threads = 64, .usable_threads = 64}};
  EXPECT_TRUE(environment_warnings(environment, release).empty());
  environment.cpu.governor = "powersave";
  environment.cpu.turbo = true;
  environment.cpu.quota_threads = 4;
  environment.load_average = 30;
  EXPECT_EQ(environment_warnings(environment, release).size(), 4u);
  EXPECT_EQ(environment_warnings({}, {.build_type = "Debug", .flags = "-g -fsanitize=address"}).size(), 2u);
}

TEST(Environment, SaysThatThreadCountsOfOtherLibrariesChangeNothing) {
  Environment environment;
  environment.cpu.usable_threads = 4;
  environment.variables = {
      {"OMP_NUM_THREADS", "1"}, {"OPENBLAS_NUM_THREADS", "4"}, {"OMP_PROC_BIND", "true"}};
  const auto said = environment_warnings(environment, {.build_type = "Release"});
  ASSERT_EQ(said.size(), 1u);  // four are what is used anyway
  EXPECT_TRUE(said[0].starts_with("OMP_NUM_THREADS=1 changes nothing here: ")) << said[0];
}

TEST(Doubts, DoNotMindAnIdleMachine) {
  Environment environment{.load_average = 0.4, .cpu = {.usable_threads = 2}};
  EXPECT_TRUE(environment_warnings(environment, {.build_type = "Release"}).empty());
  environment.load_average = 0.6;
  EXPECT_EQ(environment_warnings(environment, {.build_type = "Release"}).size(), 1u);
}

TEST(AllowedVariables, AreThoseThatSteerALibrary) {
  for (const auto* name : {"NCCL_DEBUG", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                           "OMPI_MCA_btl", "UCX_TLS", "NVSHMEM_X", "MOEBENCH_TOKENS", "SLURM_JOB_ID"})
    EXPECT_TRUE(is_allowed_variable(name)) << name;
  for (const auto* name :
       {"HOME", "PATH", "AWS_SECRET_ACCESS_KEY", "SLURM_JWT", "GITHUB_TOKEN", "XNCCL_", "",
        "OMPI_MCA_orte_precondition_transports", "OMPI_MCA_orte_hnp_uri", "OMPI_MCA_plm_rsh_agent"})
    EXPECT_FALSE(is_allowed_variable(name)) << name;
}

TEST(AllowedVariables, AreSortedAndKeepTheirValues) {
  const char* environment[] = {"SECRET=1", "OMP_NUM_THREADS=2", "NCCL_DEBUG=a=b",
                               "NCCL_ODD", "CUDA_X=",           nullptr};
  EXPECT_EQ(allowed_variables(environment),
            (NamedTexts{{"CUDA_X", ""}, {"NCCL_DEBUG", "a=b"}, {"OMP_NUM_THREADS", "2"}}));
  EXPECT_TRUE(allowed_variables(nullptr).empty());
}

TEST(UtcText, IsIso8601) {
  EXPECT_EQ(utc_text(std::chrono::system_clock::time_point{}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_text(std::chrono::system_clock::from_time_t(1709210096)), "2024-02-29T12:34:56Z");
}

TEST(ToolFacts, NameTheBuild) {
  const auto tool = tool_facts();
  EXPECT_FALSE(tool.version.empty());
  EXPECT_FALSE(tool.compiler.empty());
  EXPECT_TRUE(tool.commit.empty() || tool.commit.size() == 40) << tool.commit;
}

}  // namespace
}  // namespace moebench
