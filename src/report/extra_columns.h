// SPDX-License-Identifier: Apache-2.0
// Columns of the table that are shown on request (run --columns).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"

namespace moebench {

/// "imbalance,memory" as names. Throws UsageError naming what is valid.
std::vector<std::string> parse_columns(std::string_view list);

/// The heading of a column, and its cell in a record that has a time.
std::string heading_of(const std::string& column);
std::string cell_of(const std::string& column, const Record& record);

}  // namespace moebench
