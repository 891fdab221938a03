// SPDX-License-Identifier: Apache-2.0
// The one answer to "can this case run?", asked for all cases before anything is measured.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backends/capabilities.h"
#include "suite/case.h"

namespace moebench {

/// A backend of this build that the run does not use: to say where an engine is.
struct OtherBackend {
  std::string name;
  std::vector<std::string> engines;
  /// Empty if it could be used. Asked only of the backend that has the engine: asking may wake a device.
  std::string (*why_not_here)();
};

/// Asks the sizes, the gate, the exchange, the engine, the subject and the backend, in this order, and returns the first
/// reason against the case in one line: what was given and what is valid. Empty if it can run. Allocates nothing and
/// needs no device. Memory and the number of ranks are asked by the runner: a case that lacks them is skipped.
std::string why_not(const Case& bench_case, const Capabilities& backend,
                    std::span<const OtherBackend> others = {});

/// "needs 24.3 GB on each rank, 16.1 GB are available"; empty if it fits.
std::string why_no_room(double needed_bytes, double available_bytes);

/// Bytes that one rank has, or needs.
struct Room {
  double device = 0, host = 0;
  double both() const { return device + host; }
};
/// The same; `one_memory`: the backend computes in the host's memory, and `there` says it twice.
std::string why_no_room(const Room& needed, const Room& there, bool one_memory);
/// "needs 4 ranks, but 2 run; start with mpirun -np 4"; empty if there are enough.
std::string why_few_ranks(int needed, int running);
/// "17.6 TB"
std::string size_text(double bytes);

}  // namespace moebench
