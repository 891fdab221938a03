// SPDX-License-Identifier: Apache-2.0
// Records as comma-separated values (RFC 4180): one row per point, the same columns for every report.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/record.h"
#include "report/document.h"

namespace moebench {

/// Each column is named after its path in a point of the report: "case.tokens", "time.total.p50_us",
/// "stages.forward.experts.p50_us". What is null or missing there is empty here. The last columns say where a row is
/// from: commit, host, device, date and suite, of the run in `report` that measured it.
std::string csv(std::span<const Record> records, const Document& report = {});

/// Cells as one line, in quotes where RFC 4180 asks for them.
std::string csv_row(const std::vector<std::string>& cells);

}  // namespace moebench
