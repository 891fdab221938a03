// SPDX-License-Identifier: Apache-2.0
// The topology is read from planted files, so that the test does not depend on the machine.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/text.h"
#include "bench/topology.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;

class PlantedTopology : public testing::Test {
 protected:
  PlantedTopology() : root_(fs::temp_directory_path() / cat("moebench-topology-", getpid())) {
    fs::create_directories(root_);
  }
  ~PlantedTopology() override { fs::remove_all(root_); }

  void plant(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }
  /// A device on the bus, to which `link` leads.
  void plant_device(const std::string& bus_id, int numa_node, const std::string& link) {
    plant(cat("sys/bus/pci/devices/", bus_id, "/numa_node"), cat(numa_node));
    if (link.empty()) return;
    fs::create_directories((root_ / link).parent_path());
    fs::create_symlink(root_ / "sys/bus/pci/devices" / bus_id, root_ / link);
  }

  fs::path root_;
};

TEST_F(PlantedTopology, TellsNodesCardsAndTheGpu) {
  plant("sys/devices/system/node/node10/cpulist", "");
  plant("sys/devices/system/node/node0/cpulist", "0-31,64-95");
  plant("sys/devices/system/node/possible", "0-1");
  plant_device("0000:1a:00.0", 0, "sys/class/infiniband/mlx5_0/device");
  plant("sys/class/infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)");
  plant_device("0000:02:00.0", 1, "sys/class/net/eth0/device");
  plant("sys/class/net/eth0/speed", "25000");
  plant("sys/class/net/lo/speed", "");
  plant_device("0000:9d:00.0", 1, "");
  plant("sys/bus/pci/devices/0000:9d:00.0/current_link_speed", "32.0 GT/s PCIe");
  plant("sys/bus/pci/devices/0000:9d:00.0/current_link_width", "16");
  HostTopology host = read_topology("0000:9D:00.0", root_);
  host.gpus.at(0).nvlinks = {"0000:05:00.0", "0000:06:00.0", "0000:05:00.0", "?"};
  EXPECT_EQ(lines_of(host),
            (std::vector<std::string>{
                "NUMA node 0: cores 0-31,64-95", "NUMA node 10: cores none",
                "mlx5_0: 400 Gb/s, NUMA node 0, 0000:1a:00.0", "eth0: 25 Gb/s, NUMA node 1, 0000:02:00.0",
                "GPU 0000:9D:00.0, NUMA node 1, PCIe 32.0 GT/s x16, 2 NVLinks to 0000:05:00.0, 1 NVLink to "
                "0000:06:00.0, 1 NVLink"}));
}

TEST_F(PlantedTopology, ListsACardOnceAndSaysWhatIsUnknown) {
  plant_device("0000:1a:00.0", -1, "sys/class/infiniband/mlx5_0/device");
  fs::create_directories(root_ / "sys/class/net/ib0");
  fs::create_symlink(root_ / "sys/bus/pci/devices/0000:1a:00.0", root_ / "sys/class/net/ib0/device");
  plant("sys/class/net/ib0/speed", "-1");
  const HostTopology host = read_topology("0000:9d:00.0", root_);
  EXPECT_EQ(lines_of(host),
            (std::vector<std::string>{"mlx5_0: rate unknown, 0000:1a:00.0", "GPU 0000:9d:00.0"}));
}

TEST_F(PlantedTopology, IsEmptyWhereNothingCanBeRead) {
  EXPECT_TRUE(lines_of(read_topology("", root_)).empty());
}

TEST(Topology, OfEachHostHoldsTheGpusOfItsRanks) {
  const auto rank = [](const char* host, const char* gpu) {
    return HostTopology{.host = host, .gpus = {{.bus_id = gpu}}};
  };
  const auto hosts = merged_by_host({rank("a", "1"), rank("b", "1"), rank("a", "2"), rank("a", "1")});
  ASSERT_EQ(hosts.size(), 2u);
  EXPECT_EQ(hosts[0].host, "a");
  ASSERT_EQ(hosts[0].gpus.size(), 2u);
  EXPECT_EQ(hosts[0].gpus[1].bus_id, "2");
  EXPECT_EQ(hosts[1].gpus.size(), 1u);
}

}  // namespace
}  // namespace moebench
