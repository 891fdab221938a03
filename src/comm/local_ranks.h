// SPDX-License-Identifier: Apache-2.0
// Ranks on this host without a launcher: this program again, once for each.
#pragma once

#include <string>
#include <vector>

namespace moebench {

/// Starts `ranks` processes of this program with the same arguments, joined over sockets, and waits for them. They end
/// with this process, which forwards SIGINT, SIGTERM and SIGHUP. After a failure the others get `grace_s` seconds, then
/// SIGTERM, and SIGKILL after as long again. Returns the highest exit code of the processes that ended by themselves, 8 if
/// a signal ended one, and 130 if this process was interrupted. Throws EnvironmentError.
int run_local_ranks(int ranks, const std::vector<std::string>& argv, double grace_s = 5);

/// The same through mpirun: `ranks` ranks of this program on this host, more than its cores if need be. Throws
/// EnvironmentError if mpirun cannot be started.
int run_mpirun(int ranks, const std::vector<std::string>& argv);
/// Whether this build has MPI.
bool can_run_mpirun();

}  // namespace moebench
