// SPDX-License-Identifier: Apache-2.0
// Reading a launcher's environment, with the environment passed in so that tests can make one up.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "comm/world.h"

namespace moebench {

/// The value of an environment variable, or null: std::getenv, or a test's map.
using Lookup = std::function<const char*(const char*)>;

/// detect_launch() of the environment that `variable` looks up.
Launch detect_launch(const Lookup& variable);

/// Where ranks without MPI meet: rank 0 listens there.
struct Rendezvous {
  std::string host;
  int port = 0;
  int listener = -1;  ///< rank 0: a socket that whoever started it listens on already
};

/// "host:port" or "[v6 address]:port". Throws UsageError.
Rendezvous parse_rendezvous(std::string_view text);

/// What the launcher says about it: torchrun's MASTER_ADDR and MASTER_PORT, the first node of an srun step
/// and a port made from its number, or what moebench told the ranks that it started. Throws EnvironmentError
/// if malformed.
std::optional<Rendezvous> find_rendezvous(const Launch& launch, const Lookup& variable);

/// What moebench sets for the ranks that it starts itself.
constexpr const char* kRankVariable = "MBLOCAL_RANK";
constexpr const char* kSizeVariable = "MBLOCAL_SIZE";
constexpr const char* kPortVariable = "MBLOCAL_PORT";
constexpr const char* kListenerVariable = "MBLOCAL_LISTENER";  ///< a descriptor, for rank 0

/// Whether the launcher offers PMI or PMIx, through which an MPI library finds the other ranks.
bool offers_pmi(const Lookup& variable);

}  // namespace moebench
