// SPDX-License-Identifier: Apache-2.0
// The links of a machine as numbers, each with where it comes from (docs/projection.md, "Fabrics").
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moebench {

/// Where a number comes from.
enum class Provenance { measured, fitted, extrapolated, published, given };
std::string_view name_of(Provenance provenance);

struct Sourced {
  double value = 0;
  Provenance provenance = Provenance::published;
  std::string source;
};

/// The links between the GPUs of a host, or between hosts: per GPU and direction.
struct Tier {
  Sourced nominal_gbs, achieved_gbs;  ///< 10^9 bytes per second; projections use what is achieved
  Sourced latency_us;                 ///< of one exchange: what it takes beside bytes / rate
};

struct Fabric {
  std::string name, about;
  std::string gpu;  ///< part of its GPUs' name, "H100"; empty: any
  int gpus_per_node = 0;
  /// Whether both tiers carry bytes at the same time (hierarchical kernels), or one after the other.
  bool concurrent = true;
  Tier intra;
  std::optional<Tier> inter;  ///< none: one node
  Sourced largest_gpus;       ///< up to here the line was fitted or measured
  Sourced error_pct;          ///< by how much a prediction was off where it could be tested
};

std::vector<std::string> fabric_names();
/// A preset, or a file: a name that ends in .json. Throws UsageError: one line with the file and what is wrong.
Fabric find_fabric(const std::string& name_or_path);
/// Throws UsageError for malformed JSON, unknown and missing keys, empty sources, rates that are not above zero.
Fabric parse_fabric(std::string_view text, const std::string& origin);

}  // namespace moebench
