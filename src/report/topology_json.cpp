// SPDX-License-Identifier: Apache-2.0
#include "report/topology_json.h"

namespace moebench {

std::string text_of(const HostTopology& topology) {
  Json json = Json::object();
  std::vector<std::string> odd;
  JsonWriter writer(json, "", odd);
  topology_fields(writer, topology);
  return json.dump();
}

HostTopology topology_of(const std::string& text) {
  const Json json = Json::parse(text);
  HostTopology topology;
  JsonReader reader(json, "");
  topology_fields(reader, topology);
  return topology;
}

}  // namespace moebench
