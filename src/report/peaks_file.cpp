// SPDX-License-Identifier: Apache-2.0
#include "report/peaks_file.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "base/text.h"
#include "report/durable_file.h"
#include "report/record_json.h"

namespace moebench {
namespace {

constexpr std::string_view kSchema = "moebench.peaks/1";

/// {"schema": …, "places": {place: [peaks, …]}}; empty places if there is no file.
Json read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  Json json = Json::object();
  json["schema"] = kSchema;
  json["places"] = Json::object();
  if (!in) return json;
  const std::string text(std::istreambuf_iterator<char>(in), {});
  json = Json::parse(text, nullptr, false);
  const bool valid = json.is_object() && json.contains("schema") && json["schema"] == kSchema &&
                     json.contains("places") && json["places"].is_object();
  if (!valid)
    throw UsageError(cat(file.string(), " is no file of peaks (", kSchema, "); give --peaks another"));
  return json;
}

}  // namespace

std::string place_of(const Machine& machine) {
  std::set<std::string> places;
  for (const RankInfo& rank : machine.ranks) places.insert(cat(rank.host, ": ", rank.device));
  return join({places.begin(), places.end()}, " + ");
}

std::vector<Peaks> read_peaks(const std::filesystem::path& file, const std::string& place,
                              std::string_view backend) {
  const Json json = read_file(file);
  std::vector<Peaks> kept;
  if (!json["places"].contains(place)) return kept;
  for (const Json& entry : json["places"][place])
    if (const Peaks peaks = peaks_from_json(entry, cat(file.string(), ": ")); peaks.backend == backend)
      put(kept, peaks);
  return kept;
}

void keep_peaks(const std::filesystem::path& file, const std::string& place, const Peaks& peaks,
                const std::string& date) {
  Json json = read_file(file);
  std::vector<Peaks> kept;
  for (const Json& entry : json["places"][place]) put(kept, peaks_from_json(entry, cat(file.string(), ": ")));
  Peaks dated = peaks;
  dated.kept_since = date;
  put(kept, dated);
  Json& list = json["places"][place] = Json::array();
  for (const Peaks& one : kept) list.push_back(to_json(one));
  replace_file(file, text_of(json, true) + "\n");
}

}  // namespace moebench
