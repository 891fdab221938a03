// SPDX-License-Identifier: Apache-2.0
// Peaks that were measured once and are kept, by the place that they are of (run --peaks FILE).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "report/document.h"

namespace moebench {

/// The hosts and devices of the ranks: "node1: NVIDIA H200, 132 multiprocessors".
std::string place_of(const Machine& machine);

/// Those that `file` keeps of this place and backend, each with the date when it was measured; none if there is no file.
/// Throws UsageError if the file holds something else.
std::vector<Peaks> read_peaks(const std::filesystem::path& file, const std::string& place,
                              std::string_view backend);

/// Adds `peaks`, measured at `date`, to what the file keeps of the place. Throws EnvironmentError if it cannot be written.
void keep_peaks(const std::filesystem::path& file, const std::string& place, const Peaks& peaks,
                const std::string& date);

}  // namespace moebench
