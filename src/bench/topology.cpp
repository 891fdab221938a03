// SPDX-License-Identifier: Apache-2.0
#include "bench/topology.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "bench/system_files.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;

/// The entries of a directory, by name.
std::vector<fs::path> entries_of(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

int numa_node_of(const fs::path& device) {
  return static_cast<int>(to_int(system_text(device / "numa_node")).value_or(-1));
}

/// The last part of where the link `device` leads; empty for a device of no bus.
std::string bus_id_of(const fs::path& device) {
  std::error_code error;
  const fs::path target = fs::read_symlink(device, error);
  return error ? std::string() : target.filename().string();
}

/// "400 Gb/sec (4X NDR)" → 400
double leading_number(const std::string& text) {
  return to_double(text.substr(0, text.find(' '))).value_or(0);
}

std::vector<NumaNode> read_numa_nodes(const fs::path& root) {
  std::vector<NumaNode> nodes;
  for (const auto& [number, entry] : numbered(root / "sys/devices/system/node", "node"))
    nodes.push_back({static_cast<int>(number), system_text(entry / "cpulist")});
  return nodes;
}

/// InfiniBand and RoCE adapters by those names; other cards that are devices by those of their interfaces.
std::vector<NetworkCard> read_network_cards(const fs::path& root) {
  std::vector<NetworkCard> cards;
  const auto add = [&](const fs::path& entry, double gbits_per_s) {
    const fs::path device = entry / "device";
    const std::string bus_id = bus_id_of(device);
    if (bus_id.empty()) return;
    const bool known =
        std::any_of(cards.begin(), cards.end(), [&](auto& card) { return card.bus_id == bus_id; });
    if (!known) cards.push_back({entry.filename().string(), gbits_per_s, numa_node_of(device), bus_id});
  };
  for (const fs::path& entry : entries_of(root / "sys/class/infiniband"))
    add(entry, leading_number(system_text(entry / "ports/1/rate")));
  for (const fs::path& entry : entries_of(root / "sys/class/net"))
    add(entry, std::max(0.0, leading_number(system_text(entry / "speed")) * 1e-3));
  return cards;
}

GpuPlace read_gpu(const std::string& bus_id, const fs::path& root) {
  std::string name = bus_id;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const fs::path device = root / "sys/bus/pci/devices" / name;
  GpuPlace gpu{.bus_id = bus_id, .numa_node = numa_node_of(device)};
  std::string speed = system_text(device / "current_link_speed");
  const std::string width = system_text(device / "current_link_width");
  speed = speed.substr(0, speed.find(" PCIe"));
  if (!speed.empty() && !width.empty()) gpu.pcie = cat(speed, " x", width);
  return gpu;
}

std::string on_node(int node) { return node < 0 ? std::string() : cat(", NUMA node ", node); }

}  // namespace

HostTopology read_topology(const std::string& gpu_bus_id, const fs::path& root) {
  HostTopology topology{.numa_nodes = read_numa_nodes(root), .network_cards = read_network_cards(root)};
  if (!gpu_bus_id.empty()) topology.gpus.push_back(read_gpu(gpu_bus_id, root));
  return topology;
}

std::vector<HostTopology> merged_by_host(const std::vector<HostTopology>& ranks) {
  std::vector<HostTopology> hosts;
  for (const HostTopology& rank : ranks) {
    const auto found =
        std::find_if(hosts.begin(), hosts.end(), [&](auto& host) { return host.host == rank.host; });
    if (found == hosts.end()) {
      hosts.push_back(rank);
      continue;
    }
    for (const GpuPlace& gpu : rank.gpus)
      if (std::none_of(found->gpus.begin(), found->gpus.end(),
                       [&](auto& held) { return held.bus_id == gpu.bus_id; }))
        found->gpus.push_back(gpu);
  }
  return hosts;
}

std::vector<std::string> lines_of(const HostTopology& host) {
  std::vector<std::string> lines;
  for (const NumaNode& node : host.numa_nodes)
    lines.push_back(cat("NUMA node ", node.number, ": cores ", node.cores.empty() ? "none" : node.cores));
  for (const NetworkCard& card : host.network_cards)
    lines.push_back(cat(card.name, ": ",
                        card.gbits_per_s > 0 ? format("%g Gb/s", card.gbits_per_s) : "rate unknown",
                        on_node(card.numa_node), ", ", card.bus_id));
  for (const GpuPlace& gpu : host.gpus) {
    std::string line =
        cat("GPU ", gpu.bus_id, on_node(gpu.numa_node), gpu.pcie.empty() ? "" : ", PCIe ", gpu.pcie);
    std::map<std::string, int> links;
    for (const std::string& peer : gpu.nvlinks) ++links[peer];
    for (const auto& [peer, count] : links)
      line +=
          cat(", ", count, " NVLink", count == 1 ? "" : "s", peer == "?" ? std::string() : cat(" to ", peer));
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace moebench
