// SPDX-License-Identifier: Apache-2.0
#include "report/links_json.h"

namespace moebench {
namespace {

constexpr std::string_view kSchema = "moebench.links/1";

Json to_json(const LinkPoint& point) {
  Json json{{"way", name_of(point.way)}, {"pattern", name_of(point.pattern)}};
  if (point.pattern == LinkPattern::pair) json["pair"] = {point.a, point.b};
  json["bytes_to_each_peer"] = point.bytes;
  json["peers"] = point.peers;
  json["n"] = point.n;
  json["p50_us"] = point.p50_us;
  json["min_us"] = point.min_us;
  json["max_us"] = point.max_us;
  json["gbs"] = point.gbs();
  return json;
}

}  // namespace

std::string json_of(const Links& links, const Document& head) {
  const Json report = moebench::to_json(head);
  Json json{{"schema", kSchema}};
  for (const char* part : {"tool", "run", "environment", "machine"}) json[part] = report.at(part);
  json["points"] = Json::array();
  for (const LinkPoint& point : links.points) json["points"].push_back(to_json(point));
  json["why_not"] = links.why_not;
  json["warnings"] = report.at("warnings");
  return json.dump(2) + "\n";
}

}  // namespace moebench
