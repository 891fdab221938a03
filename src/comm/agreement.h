// SPDX-License-Identifier: Apache-2.0
// Whether all ranks were started alike: the first thing that they exchange.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "comm/world.h"

namespace moebench {

/// The first message between two ranks, of whatever builds. Its shape never changes; what follows it may, with the
/// protocol's number.
struct Greeting {
  char magic[8] = {'m', 'o', 'e', 'b', 'e', 'n', 'c', 'h'};
  std::uint64_t protocol = 1;
  std::uint64_t build = 0, command = 0, environment = 0;  ///< hashes of an Identity's parts
  std::uint64_t spare[3] = {};

  bool operator==(const Greeting&) const = default;
};
static_assert(sizeof(Greeting) == 64);

Greeting greeting_of(const Identity& identity);

/// Why a rank may not take part, as rank 0 says it; empty if it greets as rank 0 does. `text`: packed() of the rank's
/// identity; not looked at if the protocol is another.
std::string why_not_alike(const Identity& first, int rank, const Greeting& greeting, std::string_view text);

/// An identity as text, for why_not_alike() on another rank.
std::string packed(const Identity& identity);

/// Collective, and before anything else over a world. Throws UsageError on every rank, naming the first rank that was
/// started otherwise than rank 0 and what is different.
void require_agreement(World& world, const Identity& identity);

}  // namespace moebench
