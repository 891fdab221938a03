// SPDX-License-Identifier: Apache-2.0
// Which world a run gets: the word the user typed against what the launcher started.
#include "comm/world.h"

#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "comm/launch.h"
#include "comm/mpi/world.h"

namespace moebench {
namespace {

#ifdef MOEBENCH_HAVE_MPI
constexpr bool kHaveMpi = true;
#else
constexpr bool kHaveMpi = false;
#endif

std::string started(const Launch& launch) {
  return cat(launch.launcher, " started ", launch.size, launch.size == 1 ? " rank" : " ranks");
}

std::unique_ptr<World> make_checked_mpi_world(const Launch& launch, double timeout_s) {
  auto world = make_mpi_world(timeout_s);
  const int seen = world->size();
  if (launch.launcher.empty() || seen == launch.size) return world;
  world.reset();  // ends MPI in good order: the launcher then reports our exit code, not a lost rank
  throw EnvironmentError(cat(started(launch), " but MPI sees ", seen,
                             ": start with the mpirun of the MPI that moebench was built with",
                             launch.launcher == "srun" ? ", or with srun --mpi=pmix" : ""));
}

}  // namespace

std::unique_ptr<World> make_world(std::string_view word, double timeout_s) {
  if (word != "auto" && word != "self" && word != "mpi") throw_unknown("comm", word, {"auto", "self", "mpi"});
  const Launch launch = detect_launch();
  if (word == "self" && launch.size > 1)
    throw EnvironmentError(
        cat(started(launch), " but --comm self is one rank: use --comm mpi, or start one"));
  if (word == "self" || (word == "auto" && launch.size == 1)) return make_self_world();
  if (!kHaveMpi)
    throw EnvironmentError(
        cat(launch.size > 1 ? started(launch) + " but this" : "this", " moebench was built without MPI"));
  // Open MPI kills a rank of a step without PMI from inside MPI_Init; this says what to type instead.
  if (word == "auto" && launch.launcher == "srun" &&
      !offers_pmi([](const char* name) { return std::getenv(name); }))
    throw EnvironmentError(cat(started(launch),
                               " without PMI, so MPI would see 1: use srun --mpi=pmix or pmi2, or "
                               "mpirun (--comm mpi if your MPI needs no PMI)"));
  return make_checked_mpi_world(launch, timeout_s);
}

std::vector<std::string> comm_names() {
  if (kHaveMpi) return {"auto", "self", "mpi"};
  return {"auto", "self"};
}

#ifndef MOEBENCH_HAVE_MPI
std::unique_ptr<World> make_mpi_world(double) {
  throw EnvironmentError("this moebench was built without MPI");
}
#endif

}  // namespace moebench
