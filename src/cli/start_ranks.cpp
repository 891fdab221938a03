// SPDX-License-Identifier: Apache-2.0
#include "cli/start_ranks.h"

#include <algorithm>

#include "base/text.h"
#include "cli/workplace.h"
#include "comm/local_ranks.h"
#include "suite/sweep.h"

namespace moebench {
namespace {

constexpr int kMostLocalRanks = 1024;  // more are a typo, not a host

/// The largest of --ranks; 1 if it is not given.
int ranks_wanted(const SweepRequest& request) {
  std::int64_t most = 1;
  for (const std::string& value : values_of(request, "ranks"))
    most = std::max(most, to_int(value).value_or(1));
  return static_cast<int>(std::min<std::int64_t>(most, kMostLocalRanks));
}

}  // namespace

std::string only_word(const SweepRequest& request, std::string_view flag) {
  const auto words = values_of(request, flag);
  if (words.size() > 1) throw UsageError(cat("--", flag, " takes one value per run, not ", join(words, ",")));
  return words.empty() ? "auto" : words.front();
}

std::optional<ExitCode> start_ranks(const Options& options, const std::vector<std::string>& argv) {
  const std::string comm = only_word(options.sweep, "comm");
  const int ranks = ranks_wanted(options.sweep);
  if (options.plan || ranks == 1 || comm == "self" || !detect_launch().launcher.empty()) return std::nullopt;
  const std::string named = only_word(options.sweep, "backend");
  const std::string backend = named == "auto" ? best_backend() : named;
  const auto backends = backend_names();
  if (std::find(backends.begin(), backends.end(), backend) == backends.end())
    throw_unknown("backend", backend, backends);
  // What is wrong with the sweep is said here, once, and not by each rank and a launcher.
  expand_sweep(options.sweep, {.ranks = ranks,
                               .backend = backend,
                               .comm = "mpi",
                               .words = {{"backend", backend_names()}, {"engine", engines_of(backend)}}});
  if (comm == "nccl" || (comm == "auto" && backend == "cuda" && why_not_comm("nccl", ranks).empty()))
    return static_cast<ExitCode>(run_local_ranks(ranks, argv));
  if (!can_run_mpirun()) return std::nullopt;  // what can be run on one rank is
  return static_cast<ExitCode>(run_mpirun(ranks, argv));
}

}  // namespace moebench
