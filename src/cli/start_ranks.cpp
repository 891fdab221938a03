// SPDX-License-Identifier: Apache-2.0
#include "cli/start_ranks.h"

#include <algorithm>

#include "base/text.h"
#include "cli/run_context.h"
#include "comm/local_ranks.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

constexpr std::int64_t kMaxLocalRanks = 1024;  // more are a typo, not a host
constexpr std::string_view kSelf = "self", kMpi = "mpi", kNccl = "nccl";

std::string backend_of(const SweepAxes& axes) {
  const std::string named = axes.only("backend");
  return named == kAuto ? best_backend() : named;
}

bool start_over_nccl(const SweepAxes& axes, int ranks) {
  const std::string comm = axes.only("comm");
  return comm == kNccl || (comm == kAuto && uses_gpu(backend_of(axes)) && why_not_comm(kNccl, ranks).empty());
}

bool has_mpi() {
  const auto comms = comm_names();
  return std::find(comms.begin(), comms.end(), kMpi) != comms.end();
}

}  // namespace

int ranks_to_start(const SweepAxes& axes) {
  const auto ranks = static_cast<int>(std::min(axes.max_ranks(), kMaxLocalRanks));
  if (axes.only("comm") == kNccl && !uses_gpu(backend_of(axes)))
    return 1;  // one rank says that it is refused
  if (ranks == 1 || axes.only("comm") == kSelf || !detect_launch().launcher.empty()) return 1;
  return has_mpi() || start_over_nccl(axes, ranks) ? ranks : 1;  // else what can be run on one rank is
}

std::optional<ExitCode> start_ranks(const Options& options, const SweepAxes& axes,
                                    const std::vector<std::string>& argv) {
  const int ranks = options.plan ? 1 : ranks_to_start(axes);
  if (ranks == 1) return std::nullopt;
  // What is wrong with the sweep is said here, once, and not by each rank and a launcher.
  RunCapabilities machine = run_capabilities(capabilities_of(backend_of(axes)), ranks,
                                             start_over_nccl(axes, ranks) ? kNccl : kMpi, true);
  machine.words.erase("comm");  // the ranks say why a comm cannot be used
  expand_sweep(axes, machine);
  if (!start_over_nccl(axes, ranks) && !can_run_mpirun())
    return std::nullopt;  // what can be run on one rank is
  return start(ranks, axes, argv);
}

ExitCode start(int ranks, const SweepAxes& axes, const std::vector<std::string>& argv) {
  return static_cast<ExitCode>(start_over_nccl(axes, ranks) ? run_local_ranks(ranks, argv)
                                                            : run_mpirun(ranks, argv));
}

}  // namespace moebench
