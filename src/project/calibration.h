// SPDX-License-Identifier: Apache-2.0
// A fabric from measured exchanges: `moebench calibrate`.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "project/fabric.h"

namespace moebench {

/// An exchange: bytes that left each rank, and the time it took.
struct MeasuredExchange {
  double bytes = 0, us = 0;
};

/// What was measured on one machine. Exchanges between hosts are empty where there is one host.
struct CalibrationInput {
  std::string name, about, gpu;
  int ranks_per_host = 0, ranks = 0;
  std::vector<MeasuredExchange> within_host, between_hosts;
  std::string how;  ///< the way and the comm, for the file's sources
};

/// A line through each tier's exchanges, weighted by 1/t²; the largest residual is the fabric's error. Throws UsageError
/// if a tier cannot be fitted.
Fabric calibrated(const CalibrationInput& input);
/// A fabric file (docs/fabric.schema.json).
std::string json_of(const Fabric& fabric);

}  // namespace moebench
