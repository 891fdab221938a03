// SPDX-License-Identifier: Apache-2.0
// Which world a run gets: the word the user typed against what the launcher started.
#include "comm/world.h"

#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "comm/agreement.h"
#include "comm/gpus.h"
#include "comm/launch.h"
#include "comm/mpi/world.h"
#include "comm/nccl/world.h"
#include "comm/tcp/world.h"

namespace moebench {
namespace {

#ifdef MOEBENCH_HAVE_MPI
constexpr bool kHaveMpi = true;
#else
constexpr bool kHaveMpi = false;
#endif

#ifdef MOEBENCH_HAVE_NCCL
constexpr bool kHaveNccl = true;
#else
constexpr bool kHaveNccl = false;
#endif

const char* variable(const char* name) { return std::getenv(name); }

std::string started(const Launch& launch) {
  return cat(launch.launcher, " started ", launch.size, launch.size == 1 ? " rank" : " ranks");
}

std::unique_ptr<World> make_checked_mpi_world(const Launch& launch, const WorldRequest& request) {
  if (!kHaveMpi)
    throw EnvironmentError(
        cat(launch.size > 1 ? started(launch) + " but this" : "this", " moebench was built without MPI"));
  auto world = make_mpi_world(request.timeout_s);
  const int seen = world->size();
  if (launch.launcher.empty() || seen == launch.size) {
    std::string different;
    try {
      require_agreement(*world, request.identity);
    } catch (const UsageError& error) {
      different = error.what();
    }
    if (different.empty()) return world;
    world.reset();  // as below
    throw UsageError(different);
  }
  world.reset();  // ends MPI in good order: the launcher then reports our exit code, not a lost rank
  throw EnvironmentError(cat(started(launch), " but MPI sees ", seen,
                             ": start with the mpirun of the MPI that moebench was built with",
                             launch.launcher == "srun" ? ", or with srun --mpi=pmix" : ""));
}

/// Whether MPI finds the ranks of this launcher. Open MPI kills a rank of an srun step without PMI from
/// inside MPI_Init.
bool mpi_joins(const Launch& launch) {
  return kHaveMpi && (launch.launcher == "mpirun" || (launch.launcher == "srun" && offers_pmi(variable)));
}

/// The ranks' control plane where rows need not go over MPI.
std::unique_ptr<World> make_control(const WorldRequest& request, const Launch& launch) {
  if (request.rendezvous.empty() && mpi_joins(launch)) return make_checked_mpi_world(launch, request);
  if (launch.launcher.empty()) {
    if (request.rendezvous.empty()) return make_self_world();
    throw UsageError(
        "--rendezvous needs ranks: set RANK and WORLD_SIZE for each, or start them with a launcher");
  }
  const auto place = request.rendezvous.empty() ? find_rendezvous(launch, variable)
                                                : std::optional(parse_rendezvous(request.rendezvous));
  if (!place)
    throw EnvironmentError(
        cat(started(launch), " and does not say where they meet: give --rendezvous HOST:PORT"));
  return make_tcp_world(launch, *place, request.timeout_s, request.identity);
}

/// The first rank's reason against NCCL, on every rank, or that ranks share a GPU; empty if nothing is against it.
std::string why_no_nccl_anywhere(World& control) {
  const auto reasons = control.gather_text(why_no_nccl(1));
  for (std::size_t rank = 0; rank < reasons.size(); ++rank)
    if (!reasons[rank].empty())
      return control.size() == 1 ? reasons[rank] : cat("rank ", rank, ": ", reasons[rank]);
  return why_gpus_are_shared(control.gather_text(uuid_of_rank(control.local_rank())));
}

std::unique_ptr<World> make_named_nccl_world(const WorldRequest& request, const Launch& launch) {
  if (!kHaveNccl) throw EnvironmentError(why_no_nccl(1));
  if (!request.gpu)
    throw UsageError(
        "--comm nccl moves rows between GPUs: use --backend cuda, or --comm mpi for the cpu backend");
  auto control = make_control(request, launch);
  if (const std::string why = why_no_nccl_anywhere(*control); !why.empty()) {
    control.reset();
    throw EnvironmentError(cat("--comm nccl cannot be used here: ", why));
  }
  return make_nccl_world(std::move(control), request.timeout_s);
}

/// Several ranks and no word: over NCCL if all can, else over MPI if it joined them.
std::unique_ptr<World> make_best_world(const WorldRequest& request, const Launch& launch) {
  if (!request.gpu) {
    if (mpi_joins(launch) || launch.launcher == "mpirun") return make_checked_mpi_world(launch, request);
    throw EnvironmentError(cat(started(launch), launch.launcher == "srun" ? " without PMI" : "",
                               ", and ranks of the cpu backend exchange over MPI: start with ",
                               launch.launcher == "srun" ? "srun --mpi=pmix or pmi2, or " : "", "mpirun"));
  }
  auto control = make_control(request, launch);
  const std::string why = why_no_nccl_anywhere(*control);
  if (why.empty()) return make_nccl_world(std::move(control), request.timeout_s);
  if (control->name() == "mpi") {
    if (request.note) request.note(cat("comm auto takes mpi, not nccl: ", why));
    return control;
  }
  control.reset();
  throw EnvironmentError(
      cat(started(launch), ", and NCCL cannot join them: ", why, "; start with mpirun for --comm mpi"));
}

}  // namespace

std::unique_ptr<World> make_world(const WorldRequest& request) {
  const std::string& word = request.comm;
  if (word != "auto" && word != "self" && word != "mpi" && word != "nccl")
    throw_unknown("comm", word, {"auto", "self", "mpi", "nccl"});
  const Launch launch = detect_launch();
  if (word == "self" && launch.size > 1)
    throw EnvironmentError(
        cat(started(launch), " but --comm self is one rank: use another --comm, or start one"));
  if (word == "self" || (word == "auto" && launch.size == 1)) return make_self_world();
  if (word == "mpi") return make_checked_mpi_world(launch, request);
  return word == "nccl" ? make_named_nccl_world(request, launch) : make_best_world(request, launch);
}

std::vector<std::string> comm_names() {
  std::vector<std::string> names{"auto", "self"};
  if (kHaveMpi) names.emplace_back("mpi");
  if (kHaveNccl) names.emplace_back("nccl");
  return names;
}

bool sums_wait_for_device(std::string_view comm) { return comm != "nccl"; }

std::string why_not_comm(std::string_view name, int local_ranks) {
  return name == "nccl" ? why_no_nccl(local_ranks) : std::string();
}

#ifndef MOEBENCH_HAVE_MPI
std::unique_ptr<World> make_mpi_world(double) {
  throw EnvironmentError("this moebench was built without MPI");
}
#endif

#ifndef MOEBENCH_HAVE_NCCL
std::string why_no_nccl(int) { return "this moebench was built without NCCL"; }
std::string uuid_of_rank(int) { return {}; }
std::unique_ptr<World> make_nccl_world(std::unique_ptr<World>, double) {
  throw EnvironmentError(why_no_nccl(1));
}
#endif

}  // namespace moebench
