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
  bool own_names;  ///< no other tool sets these names: one without the other is an error
};

// In order of trust: mpirun inside a Slurm step also shows SLURM_*, which then count its daemons.
// A batch script has SLURM_PROCID and SLURM_NTASKS without being a rank: only srun sets SLURM_STEP_NUM_TASKS.
constexpr Convention kConventions[] = {
    {"moebench", kRankVariable, kSizeVariable, true},
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", true},
    {"mpirun", "PMI_RANK", "PMI_SIZE", false},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", false},
    {"torchrun", "RANK", "WORLD_SIZE", false},
};

int number(const char* name, const char* text, int min) {
  const auto value = to_int(text);
  if (!value || *value < min || *value > std::numeric_limits<int>::max())
    throw EnvironmentError(
        cat("the launcher set ", name, "='", text, "': valid is a whole number of at least ", min));
  return static_cast<int>(*value);
}

constexpr int kMaxPort = 65535;

int port_number(const char* name, const char* text) {
  const int port = number(name, text, 1);
  if (port > kMaxPort)
    throw EnvironmentError(cat("the launcher set ", name, "='", text, "': valid is 1 to ", kMaxPort));
  return port;
}

/// "node03" of "node[03-05,9],login": Slurm's short way of listing hosts.
std::string first_host(std::string_view list) {
  const std::size_t bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string_view::npos || comma < bracket) return std::string(list.substr(0, comma));
  const std::string_view numbers = list.substr(bracket + 1);
  return cat(list.substr(0, bracket), numbers.substr(0, numbers.find_first_of(",-]")));
}

std::optional<Rendezvous> torchrun_rendezvous(const Lookup& variable) {
  const char* host = variable("MASTER_ADDR");
  const char* port = variable("MASTER_PORT");
  if (!host || !port) return std::nullopt;
  // torchrun's own store listens at the port itself, and stays there.
  const char* store = variable("TORCHELASTIC_USE_AGENT_STORE");
  const bool taken = store && std::string_view(store) == "True";
  return Rendezvous{.host = host, .port = port_number("MASTER_PORT", port) + (taken ? 1 : 0)};
}

std::optional<Rendezvous> srun_rendezvous(const Lookup& variable) {
  const char* nodes = variable("SLURM_STEP_NODELIST");
  const char* job = variable("SLURM_JOB_ID");
  const char* step = variable("SLURM_STEP_ID");
  if (!nodes || !job || !step) return std::nullopt;
  // Below the ports that the system deals out itself; steps of one job, and jobs that follow each other,
  // differ.
  constexpr std::int64_t kFirst = 15000, kCount = 15000;
  const std::int64_t key =
      number("SLURM_JOB_ID", job, 0) * std::int64_t{64} + number("SLURM_STEP_ID", step, 0);
  return Rendezvous{.host = first_host(nodes), .port = static_cast<int>(kFirst + key % kCount)};
}

std::optional<Rendezvous> own_rendezvous(const Lookup& variable) {
  const char* port = variable(kPortVariable);
  if (!port) return std::nullopt;
  const char* listener = variable(kListenerVariable);
  return Rendezvous{.host = "127.0.0.1",
                    .port = port_number(kPortVariable, port),
                    .listener = listener ? number(kListenerVariable, listener, 0) : -1};
}

}  // namespace

Rendezvous parse_rendezvous(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon != std::string_view::npos) {
    std::string_view host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    const auto port = to_int(text.substr(colon + 1));
    if (!host.empty() && port && *port >= 1 && *port <= kMaxPort)
      return {.host = std::string(host), .port = static_cast<int>(*port)};
  }
  throw UsageError(cat("'", text, "' is not HOST:PORT with a port from 1 to ", kMaxPort));
}

std::optional<Rendezvous> find_rendezvous(const Launch& launch, const Lookup& variable) {
  if (launch.launcher == "moebench") return own_rendezvous(variable);
  if (launch.launcher == "torchrun") return torchrun_rendezvous(variable);
  if (launch.launcher == "srun") return srun_rendezvous(variable);
  return std::nullopt;
}

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
