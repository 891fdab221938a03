// SPDX-License-Identifier: Apache-2.0
// Which launcher started this process, as which rank of how many.
#include "comm/launch.h"

#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

/// A launcher and the variables that it sets for every rank.
struct Convention {
  const char* launcher;
  const char* rank;
  const char* size;
  bool own_names;  ///< nobody else uses these names: one without the other is an error
};

// In order of trust: mpirun inside a Slurm step also shows SLURM_*, which then count its daemons.
// A batch script has SLURM_PROCID and SLURM_NTASKS without being a rank: only srun sets SLURM_STEP_NUM_TASKS.
constexpr Convention kConventions[] = {
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", true},
    {"mpirun", "PMI_RANK", "PMI_SIZE", false},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", false},
    {"torchrun", "RANK", "WORLD_SIZE", false},
};

int number(const char* name, const char* text, int least) {
  const auto value = to_int(text);
  if (!value || *value < least || *value > std::numeric_limits<int>::max())
    throw EnvironmentError(
        cat("the launcher set ", name, "='", text, "': valid is a whole number of at least ", least));
  return static_cast<int>(*value);
}

}  // namespace

Launch detect_launch(const Lookup& variable) {
  for (const Convention& convention : kConventions) {
    const char* rank = variable(convention.rank);
    const char* size = variable(convention.size);
    if (convention.own_names && !rank != !size)
      throw EnvironmentError(cat("the launcher set ", rank ? convention.rank : convention.size, " but not ",
                                 rank ? convention.size : convention.rank));
    if (!rank || !size) continue;
    const Launch launch{convention.launcher, number(convention.rank, rank, 0),
                        number(convention.size, size, 1)};
    if (launch.rank >= launch.size)
      throw EnvironmentError(cat("the launcher set ", convention.rank, "=", rank, " and ", convention.size,
                                 "=", size, ": a rank is less than the size"));
    return launch;
  }
  return {};
}

Launch detect_launch() {
  return detect_launch([](const char* name) { return std::getenv(name); });
}

bool offers_pmi(const Lookup& variable) {
  for (const char* name : {"PMIX_NAMESPACE", "PMIX_RANK", "PMI_RANK", "PMI_FD"})
    if (variable(name)) return true;
  return false;
}

}  // namespace moebench
