// SPDX-License-Identifier: Apache-2.0
// What `verify` found, as a table for people.
#pragma once

#include <span>
#include <string>

#include "bench/record.h"

namespace moebench {

/// One row per case: the relative error of every output and gradient beside its bound. Ends in a line break; empty for
/// no records.
std::string check_table(std::span<const Record> records);

}  // namespace moebench
