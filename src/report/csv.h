// SPDX-License-Identifier: Apache-2.0
// Records as comma-separated values (RFC 4180): one row per point, the same columns for every report.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/record.h"

namespace moebench {

/// Each column is named after its path in a point of the report: "case.tokens", "time.total.p50_us",
/// "stages.forward.experts.p50_us". What is null or missing there is empty here.
std::string csv(std::span<const Record> records);

}  // namespace moebench
