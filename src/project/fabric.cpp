// SPDX-License-Identifier: Apache-2.0
#include "project/fabric.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.h"
#include "base/text.h"
#include "suite/embedded.h"

namespace moebench {

std::span<const EmbeddedText> embedded_fabrics();

namespace {

using nlohmann::json;

constexpr std::string_view kSchema = "moebench.fabric/1";
constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
constexpr double kMaxGbs = 1e6, kMaxLatencyUs = 1e9, kMaxGpus = 1e7, kMaxErrorPct = 1000;
constexpr int kMaxPerNode = 4096;

constexpr Words<Provenance, 5> kProvenances{{{
    {Provenance::measured, "measured"},
    {Provenance::fitted, "fitted"},
    {Provenance::extrapolated, "extrapolated"},
    {Provenance::published, "published"},
    {Provenance::given, "given"},
}}};

/// An object of the file, with the path to it for errors.
class Reader {
 public:
  Reader(const json& object, std::string path, const std::vector<std::string>& keys)
      : object_(object), path_(std::move(path)) {
    if (!object.is_object()) throw UsageError(cat(path_, " must be an object, not ", object.type_name()));
    for (const auto& [key, value] : object.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        const auto guess = nearest(key, keys);
        throw UsageError(cat(path_, ": unknown key \"", key, "\"",
                             guess ? cat("; did you mean \"", *guess, "\"?") : std::string(),
                             " valid: ", join(keys, ", ")));
      }
  }

  bool has(const char* key) const { return object_.contains(key); }
  const json& at(const char* key) const {
    if (!has(key)) throw UsageError(cat(path_, ": the key \"", key, "\" is missing"));
    return object_.at(key);
  }
  std::string text(const char* key) const {
    const json& value = at(key);
    if (!value.is_string() || trimmed(value.get_ref<const std::string&>()).empty())
      throw UsageError(cat(path_, ".", key, " must be a text that is not empty"));
    return value.get<std::string>();
  }
  double number(const char* key, double min, double max) const {
    const json& value = at(key);
    const double found = value.is_number() ? value.get<double>() : std::nan("");
    if (!(found >= min && found <= max))
      throw UsageError(cat(path_, ".", key, " is ", value.dump().substr(0, 40), "; valid: a number from ",
                           min, " to ", max));
    return found;
  }
  /// {"value": …, "provenance": …, "source": …}
  Sourced sourced(const char* key, double min, double max) const {
    const Reader field(at(key), cat(path_, ".", key), {"value", "provenance", "source"});
    return {.value = field.number("value", min, max),
            .provenance = parse_provenance(field.text("provenance"), cat(path_, ".", key)),
            .source = field.text("source")};
  }
  const std::string& path() const { return path_; }

 private:
  static Provenance parse_provenance(const std::string& word, const std::string& path) {
    try {
      return kProvenances.parse("provenance", word);
    } catch (const UsageError& error) {
      throw UsageError(cat(path, ": ", error.what()));
    }
  }

  const json& object_;
  std::string path_;
};

Tier tier_of(const Reader& file, const char* key) {
  const Reader tier(file.at(key), cat(file.path(), ": ", key), {"nominal_gbs", "achieved_gbs", "latency_us"});
  constexpr double kMinGbs = 1e-6;
  Tier found{.nominal_gbs = tier.sourced("nominal_gbs", kMinGbs, kMaxGbs),
             .achieved_gbs = tier.sourced("achieved_gbs", kMinGbs, kMaxGbs),
             .latency_us = tier.sourced("latency_us", 0, kMaxLatencyUs)};
  if (found.achieved_gbs.value > found.nominal_gbs.value)
    throw UsageError(cat(tier.path(), ".achieved_gbs ", found.achieved_gbs.value, " exceeds nominal_gbs ",
                         found.nominal_gbs.value));
  return found;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.empty()) throw UsageError(cat("fabric '", path, "' cannot be read or is empty"));
  if (text.size() > kMaxBytes)
    throw UsageError(cat("fabric '", path, "' is larger than ", kMaxBytes, " bytes"));
  return text;
}

/// Throws UsageError in one line.
json parsed(std::string_view text, const std::string& origin) {
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    const std::string what = error.what();
    const auto begin = what.find("parse error");
    std::string shown = what.substr(begin == std::string::npos ? 0 : begin, 120);
    std::replace(shown.begin(), shown.end(), '\n', ' ');
    throw UsageError(cat(origin, ": malformed JSON: ", shown));
  }
}

}  // namespace

std::string_view name_of(Provenance provenance) { return kProvenances.name(provenance); }

Fabric parse_fabric(std::string_view text, const std::string& origin) {
  const json document = parsed(text, origin);
  const Reader file(document, origin,
                    {"schema", "name", "about", "gpu", "gpus_per_node", "tiers", "intra", "inter",
                     "largest_gpus", "error_pct"});
  if (const std::string schema = file.text("schema"); schema != kSchema)
    throw UsageError(cat(origin, ": the schema is '", schema.substr(0, 40), "'; valid: ", kSchema));
  Fabric fabric{.name = file.text("name"), .about = file.text("about")};
  if (file.has("gpu")) fabric.gpu = file.text("gpu");
  const double per_node = file.number("gpus_per_node", 1, kMaxPerNode);
  if (per_node != std::floor(per_node))
    throw UsageError(cat(origin, ".gpus_per_node ", per_node, " is no whole number"));
  fabric.gpus_per_node = static_cast<int>(per_node);
  const std::string tiers = file.text("tiers");
  if (tiers != "concurrent" && tiers != "serial")
    throw UsageError(cat(origin, ".tiers is '", tiers.substr(0, 40), "'; valid: concurrent, serial"));
  fabric.concurrent = tiers == "concurrent";
  fabric.intra = tier_of(file, "intra");
  if (file.has("inter")) fabric.inter = tier_of(file, "inter");
  fabric.largest_gpus = file.sourced("largest_gpus", 1, kMaxGpus);
  fabric.error_pct = file.sourced("error_pct", 0, kMaxErrorPct);
  return fabric;
}

std::vector<std::string> fabric_names() {
  std::vector<std::string> names;
  for (const EmbeddedText& fabric : embedded_fabrics()) names.emplace_back(fabric.name);
  return names;
}

Fabric find_fabric(const std::string& name_or_path) {
  if (name_or_path.ends_with(".json")) return parse_fabric(read_file(name_or_path), name_or_path);
  for (const EmbeddedText& fabric : embedded_fabrics())
    if (fabric.name == name_or_path) return parse_fabric(fabric.text, cat(fabric.name, ".json"));
  auto names = fabric_names();
  names.push_back("a path that ends in .json");
  throw_unknown("fabric", name_or_path, names);
}

}  // namespace moebench
