// SPDX-License-Identifier: Apache-2.0
// How the parts of a host hang together: NUMA nodes, network cards, GPUs on PCIe and the NVLinks between them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace moebench {

/// One NUMA node and its hardware threads, "0-31,64-95".
struct NumaNode {
  int number = 0;
  std::string cores;
};

/// A network card. Zero, −1 or empty where the system does not say.
struct NetworkCard {
  std::string name;  ///< "mlx5_0", "eth0"
  double gbits_per_s = 0;
  int numa_node = -1;
  std::string bus_id;  ///< "0000:1a:00.0"
};

/// Where a GPU is. Zero, −1 or empty where the system does not say.
struct GpuPlace {
  std::string bus_id;
  int numa_node = -1;
  std::string pcie;  ///< "32.0 GT/s x16", of its link now: a GPU that idles may lower it
  std::vector<std::string>
      nvlinks;  ///< of each active NVLink the bus id at its other end: a GPU or a switch; "?" if unknown
};

struct HostTopology {
  std::string host;
  std::vector<NumaNode> numa_nodes;
  std::vector<NetworkCard> network_cards;
  std::vector<GpuPlace> gpus;  ///< that ranks of this run use
};

/// Reads /sys below `root` (tests plant their own); with `gpu_bus_id`, not empty, also that GPU's place, without its
/// NVLinks. Never throws for what it cannot read.
HostTopology read_topology(const std::string& gpu_bus_id, const std::filesystem::path& root = "/");

/// One entry for each host, in the order of its first rank; a GPU that several ranks use is listed once. `ranks`: what each
/// rank read.
std::vector<HostTopology> merged_by_host(const std::vector<HostTopology>& ranks);

/// As lines for a person: "numa node 0: cores 0-31", "mlx5_0: 400 Gb/s, NUMA node 0", "GPU 0000:19:00.0: …".
std::vector<std::string> lines_of(const HostTopology& host);

}  // namespace moebench
