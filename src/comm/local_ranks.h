// SPDX-License-Identifier: Apache-2.0
// Ranks on this host without a launcher: this program again, once for each.
#pragma once

#include <string>
#include <vector>

namespace moebench {

/// Starts `ranks` processes of this program with the same arguments, joined over sockets, and waits for them.
/// They die with this process, and get its SIGINT and SIGTERM. Once one has failed, the others get `grace_s`
/// seconds to find out, and as long again to end after SIGTERM. Returns the highest exit code of those that ended
/// by themselves, 128 + N for signal N. Throws EnvironmentError.
int run_local_ranks(int ranks, const std::vector<std::string>& argv, double grace_s = 5);

/// Becomes mpirun with `ranks` ranks of this program on this host, more than its cores if need be. Returns
/// only if this build has no MPI. Throws EnvironmentError if mpirun cannot be started.
void become_mpirun(int ranks, const std::vector<std::string>& argv);

}  // namespace moebench
