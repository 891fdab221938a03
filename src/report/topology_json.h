// SPDX-License-Identifier: Apache-2.0
// The topology of a host as JSON.
#pragma once

#include "bench/topology.h"
#include "report/json_fields.h"

namespace moebench {

template <class Io, class Topology>
void topology_fields(Io& io, Topology& topology) {
  io("host", topology.host);
  io.list("numa_nodes", topology.numa_nodes, [](auto& inner, auto& node) {
    inner("number", node.number);
    inner.text("cores", node.cores);
  });
  io.list("network_cards", topology.network_cards, [](auto& inner, auto& card) {
    inner("name", card.name);
    inner("gbits_per_s", card.gbits_per_s, 0);
    inner("numa_node", card.numa_node);
    inner.text("bus_id", card.bus_id);
  });
  io.list("gpus", topology.gpus, [](auto& inner, auto& gpu) {
    inner("bus_id", gpu.bus_id);
    inner("numa_node", gpu.numa_node);
    inner.text("pcie", gpu.pcie);
    inner("nvlinks", gpu.nvlinks);
  });
}

/// One line of JSON, for another rank.
std::string text_of(const HostTopology& topology);
/// Of what text_of() wrote.
HostTopology topology_of(const std::string& text);

}  // namespace moebench
